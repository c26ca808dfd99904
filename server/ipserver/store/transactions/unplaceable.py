"""Experiments whose packs no node can hold: when this was first seen, and their end after a timeout."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Final

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.runs import Failure
from ipserver.store.states import PackState
from ipserver.store.tables import experiments, packs, runs
from ipserver.store.transactions.edits import editing
from ipserver.store.transitions import Change

# Number of experiments handled per call; the others follow in later calls.
_AT_ONCE: Final = 50


def overdue(transaction: Transaction, impossible: Collection[str], timeout: float) -> list[tuple[str, str]]:
    """See `Store.unplaceable_due`."""
    since, shape = experiments.c.unplaceable_since, experiments.c.queue
    found: list[tuple[str, str]] = []
    for due in (since <= transaction.now() - timeout, since.is_(None)):
        rows = transaction.connection.execute(
            sa.select(experiments.c.id, shape).where(shape.in_(sorted(impossible)), due).limit(_AT_ONCE)
        )
        found += [(row.id, row.queue) for row in rows]
    return found


def again(transaction: Transaction, impossible: Collection[str]) -> list[str]:
    """See `Store.placeable_again`."""
    shape = experiments.c.queue
    # Few experiments are marked. The condition is written so that databases do not scan all waiting ones.
    waits = sa.func.coalesce(shape, "") != ""
    statement = sa.select(experiments.c.id).where(
        experiments.c.unplaceable_since.is_not(None), waits, shape.not_in(sorted(impossible))
    )
    return list(transaction.connection.execute(statement.limit(_AT_ONCE)).scalars())


def unplaceable(transaction: Transaction, experiment: str, timeout: float, failure: Failure) -> int:
    """See `Store.unplaceable`."""
    with editing(transaction, experiment) as edit:
        if edit.pausing:
            return 0
        waiting = transaction.connection.execute(
            sa.select(packs.c.id).where(packs.c.experiment == experiment, packs.c.state == PackState.QUEUED)
        ).scalars()
        names = waiting.all()
        if not names:
            return 0
        now = transaction.now()
        since = edit.before.unplaceable_since
        if since is None or since > now:  # later than now: written by a clock that was ahead
            edit.values["unplaceable_since"] = now
            return 0
        if now - since < timeout:
            return 0
        edit.values["unplaceable_since"] = None
        edit.change(Change.REFUSE, runs.c.pack.in_(names), failure=asdict(failure))
        edit.close_idle_packs()
        return len(names)


def placeable(transaction: Transaction, experiment: str) -> None:
    """See `Store.placeable`."""
    with editing(transaction, experiment) as edit:
        if edit.before.unplaceable_since is not None:
            edit.values["unplaceable_since"] = None
