"""Checks of ids: of experiments and studies, including deleted and purged ones, and of requests."""

from __future__ import annotations

from typing import Any, Final, TypeGuard

import sqlalchemy as sa

from ipserver import names
from ipserver.errors import AlreadyExists, RequestIdReused
from ipserver.store.database import Transaction
from ipserver.store.tables import experiments, purged, studies


def _look(table: sa.Table) -> sa.Select[Any]:
    """Query of one row: whether an id exists, when its resource was deleted, and whether it was purged."""
    own = table.c.id == sa.bindparam("id")
    gone = purged.c.name == sa.bindparam("name")
    return sa.select(
        sa.exists().where(own).label("taken"),
        sa.select(table.c.delete_time).where(own).scalar_subquery().label("delete_time"),
        sa.exists().where(gone).label("purged"),
    )


_LOOKS: Final = {table.name: _look(table) for table in (experiments, studies)}


def require_free(transaction: Transaction, table: sa.Table, id: str) -> None:
    """Raise AlreadyExists if an id is used or was used.

    Args:
        transaction: The transaction.
        table: `experiments` or `studies`.
        id: The id.
    """
    kind, name, taken = (
        ("experiment", names.experiment_name(id), f"client.experiment({id!r}) or `iplab show {id}`")
        if table is experiments
        else ("study", names.study_name(id), f"client.get_study({id!r}) or `iplab study show {id}`")
    )
    found = transaction.connection.execute(_LOOKS[table.name], {"id": id, "name": name}).one()
    if found.taken and found.delete_time is not None:
        raise AlreadyExists(f"{kind} {id!r} was deleted but not purged; undelete it, or choose another id")
    if found.taken:
        raise AlreadyExists(f"{kind} {id!r} exists already; choose another id, or use that one: {taken}")
    if found.purged:
        raise AlreadyExists(f"{kind} {id!r} was purged, and ids are not reused; choose another id")


def repeats(
    row: sa.Row[*tuple[Any, ...]] | None, request_id: str, request_hash: str
) -> TypeGuard[sa.Row[*tuple[Any, ...]]]:
    """Whether the request repeats the stored one of the same id; `row` holds the stored hash.

    Raises:
        RequestIdReused: The id was used for another request.
    """
    if row is not None and row.request_hash != request_hash:
        raise RequestIdReused(
            f"request id {request_id!r} was used for another request; choose a new one for a new request"
        )
    return row is not None
