"""Counts of waiting, training and unsent work, from indexes of unfinished rows."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.backlog import Queue, Unsent
from ipserver.store.states import PackState
from ipserver.store.tables import UNFINISHED_PACK, UNPLANNED, experiments, packs, runs
from ipserver.store.transactions import capacity, projects


def queue(transaction: Transaction) -> Queue:
    """See `Store.queue`."""
    connection = transaction.connection
    waiting = dict.fromkeys(projects.listing(transaction), 0)
    waiting |= {
        row.project: int(row.packs)
        for row in connection.execute(
            sa.select(experiments.c.project, sa.func.sum(experiments.c.waiting).label("packs"))
            .where(experiments.c.queue.is_not(None))
            .group_by(experiments.c.project)
        )
    }
    states = {
        row.state: int(row.packs)
        for row in connection.execute(
            sa.select(packs.c.state, sa.func.count().label("packs"))
            .where(UNFINISHED_PACK)
            .group_by(packs.c.state)
        )
    }
    leased = connection.execute(
        sa.select(experiments.c.shape, sa.func.count().label("packs"))
        .join_from(packs, experiments, experiments.c.id == packs.c.experiment)
        .where(packs.c.expires > transaction.now(), packs.c.state == PackState.LEASED)
        .group_by(experiments.c.shape)
    )
    report = capacity.load(transaction)
    return Queue(
        waiting=waiting,
        unplanned=connection.execute(sa.select(sa.func.count()).where(UNPLANNED)).scalar_one(),
        packs={state: states.get(state, 0) for state in PackState if not state.terminal},
        leased={row.shape: int(row.packs) for row in leased},
        totals={} if report is None else report.resources,
    )


def unsent(transaction: Transaction) -> Unsent:
    """See `Store.unsent`."""
    row = transaction.connection.execute(
        sa.select(sa.func.count().label("runs"), sa.func.min(runs.c.due_since).label("since")).where(
            runs.c.due_since.is_not(None)
        )
    ).one()
    return Unsent(row.runs, 0.0 if row.since is None else max(0.0, transaction.now() - row.since))
