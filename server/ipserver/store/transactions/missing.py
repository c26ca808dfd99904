"""Errors about missing experiments and runs, with suggestions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from ipcore.errors import nearest
from ipserver.errors import NotFound
from ipserver.store.database import Transaction
from ipserver.store.tables import experiments

# Only this many newest ids are searched for suggestions.
_SEARCHED: Final = 1000
# Maximum number of names in one message, because the size of a status is limited.
_NAMED: Final = 8


def there_are_no(one: str, missing: Sequence[object]) -> str:
    """Beginning of a message about missing things.

    >>> there_are_no("run", [7]), there_are_no("run", range(20))
    ('there is no run 7', 'there are no runs 0, 1, 2, 3, 4, 5, 6, 7 and 12 more')
    """
    kind = f"there is no {one}" if len(missing) == 1 else f"there are no {one}s"
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"{kind} {', '.join(map(repr, missing[:_NAMED]))}{more}"


def no_experiment(transaction: Transaction, experiment: str) -> NotFound:
    """The error about an experiment that does not exist, with the nearest id."""
    newest = sa.select(experiments.c.id).order_by(experiments.c.create_time.desc()).limit(_SEARCHED)
    ids = [str(found) for found in transaction.connection.execute(newest).scalars()]
    if not ids:
        return NotFound(f"there is no experiment {experiment!r}; there are none yet")
    close = nearest(experiment, ids)
    meant = f"did you mean {close!r}?" if close else f"the newest is {ids[0]!r}"
    return NotFound(f"there is no experiment {experiment!r}; {meant}")
