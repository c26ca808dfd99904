"""Reads events, and adds notices for users."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.experiments import EventRecord
from ipserver.store.tables import events, experiments
from ipserver.store.transactions import experiments as experiment_store
from ipserver.store.transactions.edits import editing


def listing(transaction: Transaction, experiment: str, after: int, limit: int) -> list[EventRecord]:
    """See `Store.events`."""
    rows = transaction.connection.execute(
        sa.select(events)
        .where(events.c.experiment == experiment, events.c.seq > after)
        .order_by(events.c.seq)
        .limit(limit)
    ).all()
    if not rows:
        experiment_store.require(transaction, experiment)
    return [EventRecord(sequence=row.seq, time=row.time, kind=row.kind, payload=row.payload) for row in rows]


def heads(transaction: Transaction, ids: Collection[str]) -> dict[str, int]:
    """See `Store.heads`."""
    statement = sa.select(experiments.c.id, experiments.c.seq).where(experiments.c.id.in_(sorted(ids)))
    return {row.id: row.seq for row in transaction.connection.execute(statement)}


def notice(transaction: Transaction, experiment: str, message: str) -> None:
    """See `Store.notice`."""
    with editing(transaction, experiment) as edit:
        edit.event("notice", {"message": message})
