"""Where an experiment stands in the queue, and when it is likely to start.

An estimate from the store alone: it counts packs, whatever each of them asks for. The dispatchers decide
anew at every start (`ipserver.scheduling.schedule`).
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.queueing import QueuePlace
from ipserver.store.states import PackState
from ipserver.store.tables import attempts, experiments, packs
from ipserver.store.transactions import clocks
from ipserver.store.transactions.missing import no_experiment

# Attempts that say how long packs take: the last ones of this time.
_ATTEMPTS: Final = 50
_RECENT_SECONDS: Final = 86_400.0
_WAITS: Final = sa.and_(experiments.c.queue.is_not(None), experiments.c.unplaceable_since.is_(None))


def place(transaction: Transaction, experiment: str) -> QueuePlace | None:
    """See `Store.queue_place`."""
    row = transaction.connection.execute(
        sa.select(experiments).where(experiments.c.id == experiment)
    ).one_or_none()
    if row is None:
        raise no_experiment(transaction, experiment)
    if row.queue is None or row.unplaceable_since is not None:
        return None
    now = transaction.now()
    leased = _leased(transaction, now)
    before = _before(transaction, row, leased)
    # Packs of lower priority make room. Beyond them, one must end for each that starts.
    ends = max(0, before + 1 - sum(one.packs for one in leased if one.priority < row.priority))
    if ends == 0:
        return QueuePlace(before, now)
    seconds = _pack_seconds(transaction, now)
    training = sum(one.packs for one in leased)
    if seconds is None or training == 0:
        return QueuePlace(before, None)
    return QueuePlace(before, now + ends * seconds / training)


def _leased(transaction: Transaction, now: float) -> list[sa.Row[Any]]:
    """Number of leased packs by project and priority."""
    return list(
        transaction.connection.execute(
            sa.select(experiments.c.project, experiments.c.priority, sa.func.count().label("packs"))
            .join(packs, packs.c.experiment == experiments.c.id)
            .where(packs.c.expires > now, packs.c.state == PackState.LEASED)
            .group_by(experiments.c.project, experiments.c.priority)
        )
    )


def _before(transaction: Transaction, row: sa.Row[Any], leased: list[sa.Row[Any]]) -> int:
    """Waiting packs that start before the experiment's first one.

    All of higher priority do, and older ones of its project. Those of other projects with its priority do
    until each of them holds as many packs as its own project will hold by then: starts go to the project that
    holds least.
    """
    waiting = sa.func.coalesce(sa.func.sum(experiments.c.waiting), 0).label("packs")
    equal = sa.and_(_WAITS, experiments.c.priority == row.priority)
    older = sa.tuple_(experiments.c.create_time, experiments.c.id) < sa.tuple_(
        sa.literal(row.create_time, sa.Double()), sa.literal(row.id)
    )
    own = experiments.c.project == row.project
    urgent = sa.select(waiting).where(_WAITS, experiments.c.priority > row.priority)
    ahead = sa.select(waiting).where(equal, own, older)
    others = sa.select(experiments.c.project, waiting).where(equal, ~own).group_by(experiments.c.project)
    number = {
        name: int(transaction.connection.execute(statement).scalar_one())
        for name, statement in (("urgent", urgent), ("ahead", ahead))
    }
    holds: dict[str, int] = {}
    for one in leased:
        holds[one.project] = holds.get(one.project, 0) + one.packs
    level = holds.get(row.project, 0) + number["ahead"]
    fair = sum(
        min(int(other.packs), max(0, level - holds.get(other.project, 0)))
        for other in transaction.connection.execute(others)
    )
    return number["urgent"] + number["ahead"] + fair


def _pack_seconds(transaction: Transaction, now: float) -> float | None:
    """Mean length of the last attempts at packs that nothing went wrong with; None: there are none."""
    last = (
        sa.select((attempts.c.end_time - attempts.c.start_time).label("seconds"))
        .where(
            attempts.c.end_time.between(now - _RECENT_SECONDS, now + clocks.SLACK_SECONDS),
            attempts.c.start_time <= attempts.c.end_time,
            attempts.c.end_reason.is_(None),
        )
        .order_by(attempts.c.end_time.desc())
        .limit(_ATTEMPTS)
        .subquery()
    )
    mean = transaction.connection.execute(sa.select(sa.func.avg(last.c.seconds))).scalar_one()
    return None if mean is None else float(mean)
