"""Experiments that do not exist, and which was probably meant."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from ipcore.errors import nearest
from ipserver.errors import NotFound
from ipserver.store.database import Transaction
from ipserver.store.tables import experiments

# Ids that are searched: the newest.
_SEARCHED: Final = 1000


def no_experiment(transaction: Transaction, experiment: str) -> NotFound:
    """The error about an experiment that does not exist, with the nearest id."""
    newest = sa.select(experiments.c.id).order_by(experiments.c.create_time.desc()).limit(_SEARCHED)
    ids = [str(found) for found in transaction.connection.execute(newest).scalars()]
    if not ids:
        return NotFound(f"there is no experiment {experiment!r}; there are none yet")
    close = nearest(experiment, ids)
    meant = f"did you mean {close!r}?" if close else f"the newest is {ids[0]!r}"
    return NotFound(f"there is no experiment {experiment!r}; {meant}")
