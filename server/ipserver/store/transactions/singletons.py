"""Named leases, each held by at most one process at a time."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.tables import singletons
from ipserver.store.transactions import clocks


def acquire_lease(transaction: Transaction, name: str, owner: str, ttl: float) -> bool:
    """See `Store.acquire_lease`."""
    now = transaction.now()
    row = transaction.connection.execute(
        sa.select(singletons).where(singletons.c.name == name).with_for_update()
    ).one_or_none()
    if row is None:
        transaction.connection.execute(
            sa.insert(singletons).values(name=name, owner=owner, expires=now + ttl, seconds=ttl)
        )
        return True
    if row.owner != owner and clocks.held(row.expires, row.seconds, now):
        return False
    transaction.connection.execute(
        sa.update(singletons)
        .where(singletons.c.name == name)
        .values(owner=owner, expires=now + ttl, seconds=ttl)
    )
    return True


def release_lease(transaction: Transaction, name: str, owner: str) -> None:
    """See `Store.release_lease`."""
    transaction.connection.execute(
        sa.delete(singletons).where(singletons.c.name == name, singletons.c.owner == owner)
    )
