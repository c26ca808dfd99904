"""From accepted experiments to packs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from ipserver.errors import Fenced
from ipserver.states import PackState, RunState
from ipserver.store import clocks
from ipserver.store import experiments as experiment_store
from ipserver.store.database import Transaction
from ipserver.store.edits import Edit, editing
from ipserver.store.records import ExperimentRecord, Failure, NewPack, RunRecord
from ipserver.store.runs import run_record, select_runs
from ipserver.store.tables import experiments, packs, runs
from ipserver.transitions import Change

_UNPLANNED = sa.and_(~experiments.c.planned, ~experiments.c.pause_requested, experiments.c.end_time.is_(None))


def lease(
    transaction: Transaction, owner: str, ttl: float
) -> tuple[ExperimentRecord, list[RunRecord]] | None:
    """See `Store.lease_unplanned`."""
    connection = transaction.connection
    now = transaction.now()
    free = sa.or_(
        experiments.c.planner_expires.is_(None),
        clocks.over(experiments.c.planner_expires, experiments.c.planner_seconds, now),
    )
    found: str | None = connection.execute(
        sa.select(experiments.c.id)
        .where(_UNPLANNED, free)
        .order_by(experiments.c.priority.desc(), experiments.c.create_time, experiments.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).scalar_one_or_none()
    if found is None:
        return None
    connection.execute(
        sa.update(experiments)
        .where(experiments.c.id == found)
        .values(planner=owner, planner_expires=now + ttl, planner_seconds=ttl)
    )
    queued = connection.execute(select_runs(found, runs.c.state == RunState.QUEUED))
    return experiment_store.get(transaction, found), [run_record(row) for row in queued]


def save(transaction: Transaction, experiment: str, owner: str, plan: Sequence[NewPack]) -> None:
    """See `Store.save_plan`."""
    with editing(transaction, experiment) as edit:
        _close_planning(edit, owner)
        queued = _queued(transaction, experiment)
        _check(experiment, plan, queued)
        _insert(edit, plan, queued)


def refuse(transaction: Transaction, experiment: str, owner: str, failure: Failure) -> None:
    """See `Store.refuse_plan`."""
    with editing(transaction, experiment) as edit:
        _close_planning(edit, owner)
        edit.change(Change.REFUSE, failure=asdict(failure))


def idle(transaction: Transaction) -> bool:
    """See `Store.idle`."""
    waiting = sa.exists().where(_UNPLANNED)
    unfinished = sa.exists().where(
        packs.c.experiment == experiments.c.id,
        sa.or_(
            packs.c.state == PackState.LEASED,
            sa.and_(packs.c.state == PackState.QUEUED, ~experiments.c.pause_requested),
        ),
    )
    return not transaction.connection.execute(sa.select(sa.or_(waiting, unfinished))).scalar_one()


def _close_planning(edit: Edit, owner: str) -> None:
    if edit.before.planned or edit.before.planner != owner:
        raise Fenced(
            f"experiment {edit.experiment!r} is planned already, or its planning is not leased to {owner!r}"
        )
    edit.values |= {"planned": True, "planner": "", "planner_expires": None, "planner_seconds": None}


def _queued(transaction: Transaction, experiment: str) -> frozenset[int]:
    statement = sa.select(runs.c.run_index).where(
        # It may have been paused since it was leased.
        runs.c.experiment == experiment,
        runs.c.state.in_([RunState.QUEUED, RunState.PAUSED]),
        runs.c.pack == "",
    )
    return frozenset(transaction.connection.execute(statement).scalars())


def _check(experiment: str, plan: Sequence[NewPack], queued: frozenset[int]) -> None:
    planned = Counter(index for pack in plan for index in pack.run_indices)
    doubled = sorted(index for index, times in planned.items() if times > 1)
    missing = sorted(queued - planned.keys())
    if doubled or missing:
        raise ValueError(
            f"a plan of {experiment!r} must hold every queued run once: "
            f"{len(doubled)} are in several packs {doubled[:5]}, {len(missing)} in none {missing[:5]}"
        )


def _insert(edit: Edit, plan: Sequence[NewPack], queued: frozenset[int]) -> None:
    rows: list[dict[str, Any]] = []
    places: list[dict[str, Any]] = []
    for pack in plan:
        members = [index for index in pack.run_indices if index in queued]
        if not members:
            continue
        rows.append(
            {
                "experiment": edit.experiment,
                "id": pack.id,
                "runs": len(members),
                "hidden_layers": pack.hidden_layers,
                "width": pack.width,
                "activation": pack.activation,
                "steps": pack.steps,
                "memory_bytes": pack.memory_bytes,
                "state": PackState.QUEUED,
                "committed_steps": 0,
                "token": 0,
                "owner": "",
            }
        )
        places += [{"member": index, "its_pack": pack.id} for index in members]
        edit.progress(rows[-1], 0)
    if rows:
        connection = edit.transaction.connection
        connection.execute(sa.insert(packs), rows)
        # Row by row: the whole key leaves a database without statistics no choice of a bad plan.
        connection.execute(
            sa.update(runs)
            .where(runs.c.experiment == edit.experiment, runs.c.run_index == sa.bindparam("member"))
            .values(pack=sa.bindparam("its_pack")),
            places,
        )
