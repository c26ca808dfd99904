"""Planning: the runs of accepted experiments are grouped into packs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from ipserver.errors import Fenced
from ipserver.store.database import Transaction
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.packs import NewPack
from ipserver.store.records.runs import Failure, RunRecord
from ipserver.store.states import PackState, RunState
from ipserver.store.tables import UNPLANNED, URGENCY, experiments, packs, runs
from ipserver.store.transactions import clocks
from ipserver.store.transactions import experiments as experiment_store
from ipserver.store.transactions.edits import Edit, editing
from ipserver.store.transactions.missing import no_experiment
from ipserver.store.transactions.runs import run_record, select_runs
from ipserver.store.transitions import Change

# Runs assigned to packs in one transaction. This bounds how long other writers wait.
_RUNS_AT_ONCE: Final = 500


def unplanned(transaction: Transaction) -> bool:
    """Whether an experiment waits to be planned."""
    free = _free(transaction.now())
    return bool(transaction.connection.execute(sa.select(sa.exists().where(UNPLANNED, free))).scalar_one())


def lease(transaction: Transaction, owner: str, ttl: float) -> str | None:
    """Lease an experiment to plan; return its id, or None if there is none."""
    now = transaction.now()
    found: str | None = transaction.connection.execute(
        sa.select(experiments.c.id)
        .where(UNPLANNED, _free(now))
        .order_by(*URGENCY)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).scalar_one_or_none()
    if found is not None:
        transaction.connection.execute(
            sa.update(experiments)
            .where(experiments.c.id == found)
            .values(planner=owner, planner_expires=now + ttl, planner_seconds=ttl)
        )
    return found


def unpacked(transaction: Transaction, experiment: str) -> tuple[ExperimentRecord, list[RunRecord]]:
    """An experiment and its queued runs that are in no pack yet."""
    queued = transaction.connection.execute(
        select_runs(experiment, runs.c.state == RunState.QUEUED, runs.c.pack == "")
    )
    return experiment_store.get(transaction, experiment), [run_record(row) for row in queued]


def saved(transaction: Transaction, experiment: str) -> int:
    """See `Store.packs_saved`."""
    number: int = transaction.connection.execute(
        sa.select(sa.func.count()).where(packs.c.experiment == experiment)
    ).scalar_one()
    return number


def check(transaction: Transaction, experiment: str, owner: str, plan: Sequence[NewPack]) -> None:
    """Raises as `Store.save_plan` does."""
    row = transaction.connection.execute(
        sa.select(experiments.c.planned, experiments.c.planner).where(experiments.c.id == experiment)
    ).one_or_none()
    if row is None:
        raise no_experiment(transaction, experiment)
    _require_planner(experiment, row, owner)
    _check(experiment, plan, _queued(transaction, experiment))


def parts(plan: Sequence[NewPack]) -> Iterator[Sequence[NewPack]]:
    """Split a plan into parts of one transaction each; at least one part, possibly empty."""
    part: list[NewPack] = []
    size = 0
    for pack in plan:
        if part and size + len(pack.run_indices) > _RUNS_AT_ONCE:
            yield part
            part, size = [], 0
        part.append(pack)
        size += len(pack.run_indices)
    yield part


def save(
    transaction: Transaction, experiment: str, owner: str, part: Sequence[NewPack], ttl: float, last: bool
) -> None:
    """Insert one part of an experiment's packs. No pack is leased before the last part is saved."""
    with editing(transaction, experiment) as edit:
        _require_planner(experiment, edit.before, owner)
        if last:
            queued = _queued(transaction, experiment)
            _check(experiment, part, queued)
            _close_planning(edit)
        else:
            members = [index for pack in part for index in pack.run_indices]
            queued = _queued(transaction, experiment, runs.c.run_index.in_(members))
            edit.values |= {"planner_expires": transaction.now() + ttl, "planner_seconds": ttl}
        _insert(edit, part, queued)


def refuse(transaction: Transaction, experiment: str, owner: str, failure: Failure) -> None:
    """See `Store.refuse_plan`."""
    with editing(transaction, experiment) as edit:
        _require_planner(experiment, edit.before, owner)
        _close_planning(edit)
        edit.change(Change.REFUSE, failure=asdict(failure))
        edit.close_idle_packs()  # packs of a plan that another dispatcher had partly saved


def idle(transaction: Transaction) -> bool:
    """See `Store.idle`."""
    waiting = sa.exists().where(UNPLANNED)
    unfinished = sa.exists().where(
        packs.c.experiment == experiments.c.id,
        sa.or_(
            packs.c.state == PackState.LEASED,
            sa.and_(packs.c.state == PackState.QUEUED, ~experiments.c.pause_requested),
        ),
    )
    return not transaction.connection.execute(sa.select(sa.or_(waiting, unfinished))).scalar_one()


def _free(now: float) -> sa.ColumnElement[bool]:
    return sa.or_(
        experiments.c.planner_expires.is_(None),
        clocks.over(experiments.c.planner_expires, experiments.c.planner_seconds, now),
    )


def _require_planner(experiment: str, row: Any, owner: str) -> None:
    if row.planned or row.planner != owner:
        raise Fenced(
            f"experiment {experiment!r} is already planned, or its planning is not leased to {owner!r}"
        )


def _close_planning(edit: Edit) -> None:
    edit.values |= {"planned": True, "planner": "", "planner_expires": None, "planner_seconds": None}


def _queued(transaction: Transaction, experiment: str, *where: sa.ColumnElement[bool]) -> frozenset[int]:
    statement = sa.select(runs.c.run_index).where(
        # The experiment may have been paused since it was leased.
        runs.c.experiment == experiment,
        runs.c.state.in_([RunState.QUEUED, RunState.PAUSED]),
        runs.c.pack == "",
        *where,
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
                **NetworkShape.values_of(pack),
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
        edit.transaction.insert_many(packs, rows)
        edit.waiting += len(rows)
        # Row by row: with the whole key, a database without statistics cannot choose a bad query plan.
        connection.execute(
            sa.update(runs)
            .where(runs.c.experiment == edit.experiment, runs.c.run_index == sa.bindparam("member"))
            .values(pack=sa.bindparam("its_pack")),
            places,
        )
