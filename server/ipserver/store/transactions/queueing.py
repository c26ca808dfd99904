"""Estimates an experiment's place in the queue and its likely start.

The estimate uses only the store, and counts packs without regard to their resources. Dispatchers decide at
every start (`ipserver.scheduling.schedule`).
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

# The duration of a pack is estimated from at most this many attempts, within this time.
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
    # Packs of lower priority make room. Beyond these, a leased pack must end for each start.
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
    """Number of waiting packs that start before the experiment's first pack.

    These are all packs of higher priority, older packs of equal priority of the same project, and as many
    packs of equal priority of each other project as that project needs to hold as many as this one, because
    the project that holds the least starts next.
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
    """Mean duration in seconds of the last successful attempts at packs; None if there are none."""
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
