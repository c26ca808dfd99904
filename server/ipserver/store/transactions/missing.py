"""Errors about missing experiments, studies and runs, with suggestions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from ipcore.errors import nearest
from ipserver.errors import NotFound
from ipserver.store.database import Transaction
from ipserver.store.tables import experiments, studies

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
    """The error about an experiment that does not exist, with the nearest id, or that it is a study."""
    if _exists(transaction, studies, experiment):
        hint = f"it is a study: iplab study show {experiment}, client.get_study({experiment!r})"
    else:
        hint = _meant(transaction, experiments, experiment)
    return NotFound(f"there is no experiment {experiment!r}; {hint}")


def no_study(transaction: Transaction, study: str) -> NotFound:
    """The error about a study that does not exist, with the nearest id, or that it is an experiment."""
    if _exists(transaction, experiments, study):
        hint = f"it is an experiment: iplab show {study}, client.experiment({study!r})"
    else:
        hint = _meant(transaction, studies, study)
    return NotFound(f"there is no study {study!r}; {hint}")


def _exists(transaction: Transaction, table: sa.Table, id: str) -> bool:
    found = sa.select(table.c.id).where(table.c.id == id)
    return transaction.connection.execute(found).one_or_none() is not None


def _meant(transaction: Transaction, table: sa.Table, id: str) -> str:
    newest = sa.select(table.c.id).order_by(table.c.create_time.desc()).limit(_SEARCHED)
    ids = [str(found) for found in transaction.connection.execute(newest).scalars()]
    if not ids:
        return "there are none yet"
    close = nearest(id, ids)
    return f"did you mean {close!r}?" if close else f"the newest is {ids[0]!r}"
