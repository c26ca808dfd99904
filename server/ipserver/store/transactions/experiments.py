"""Experiments: create, read, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from ipserver.environment import traces
from ipserver.errors import NotFound
from ipserver.store.database import Transaction
from ipserver.store.records.experiments import ExperimentRecord, NewExperiment
from ipserver.store.records.filters import Filter
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import NewRun
from ipserver.store.shapes import shape_of
from ipserver.store.states import ExperimentState, RunState
from ipserver.store.tables import experiments, runs
from ipserver.store.transactions import projects, quotas
from ipserver.store.transactions.comparisons import experiment_condition
from ipserver.store.transactions.edits import created_event, editing, insert_events
from ipserver.store.transactions.missing import no_experiment, there_are_no
from ipserver.store.transactions.study_rounds import require_wanted
from ipserver.store.transactions.taken import repeats, require_free
from ipserver.store.transitions import Change


def create(
    transaction: Transaction,
    new: NewExperiment,
    points: Sequence[NewRun],
    study: tuple[str, int] | None = None,
) -> ExperimentRecord:
    """See `Store.create_experiment`."""
    if not points:
        raise ValueError(f"experiment {new.id!r} has no runs")
    if study is not None:
        asked_by = require_wanted(transaction, *study)
        new = replace(new, project=asked_by.project, owned_by=asked_by.owned_by)
    connection = transaction.connection
    if new.request_id and (first := find_request(transaction, new.request_id, new.request_hash)):
        return first
    projects.lock(transaction, new.project, "experiment.project")
    adding = {"live_experiments": 1, "queued_runs": len(points), "priority": new.priority}
    quotas.check(transaction, new.project, new.owned_by, adding)
    require_free(transaction, experiments, new.id)
    connection.execute(
        # Values are passed as parameters: building a statement from them takes a tenth of the transaction.
        sa.insert(experiments),
        dict(
            id=new.id,
            uid=new.uid,
            request_id=new.request_id or None,
            request_hash=new.request_hash,
            display_name=new.display_name,
            labels=dict(new.labels),
            priority=new.priority,
            spec=new.spec,
            spec_hash=new.spec_hash,
            steps=new.steps,
            run_memory_bytes=new.run_memory_bytes,
            warnings=list(new.warnings),
            state=ExperimentState.QUEUED,
            cancel_requested=False,
            pause_requested=False,
            seq=1,
            **{state.value.lower(): 0 for state in RunState} | {"queued": len(points)},
            committed_steps=0,
            mlflow_pending_runs=len(points),
            shape=shape_of(new.resources),
            planned=False,
            planner="",
            create_time=transaction.now(),
            project=new.project,
            owned_by=new.owned_by,
            notes=new.notes,
            trace=traces.context(),
        ),
    )
    insert_events(transaction, new.id, 1, [created_event()])
    insert_runs(transaction, new.id, points, RunState.QUEUED)
    return get(transaction, new.id)


def insert_runs(transaction: Transaction, experiment: str, points: Sequence[NewRun], state: RunState) -> None:
    """Insert runs without packs. The caller updates the counters."""
    transaction.insert_many(
        runs,
        [
            {
                "experiment": experiment,
                "run_index": point.index,
                "parameterization": point.parameterization,
                **NetworkShape.values_of(point),
                "base_learning_rate": point.base_learning_rate,
                "seed": point.seed,
                "state": state,
                "pack": "",
                "committed_steps": 0,
                "calibrated_rates": [],
                "mlflow_run_id": "",
                "sent_segment": 0,
            }
            for point in points
        ],
    )


# Built once, because every submission executes them.
_BY_ID: Final = sa.select(experiments).where(experiments.c.id == sa.bindparam("wanted"))
_BY_REQUEST: Final = sa.select(experiments).where(experiments.c.request_id == sa.bindparam("wanted"))


def find_request(transaction: Transaction, request_id: str, request_hash: str) -> ExperimentRecord | None:
    """See `Store.find_request`."""
    row = transaction.connection.execute(_BY_REQUEST, {"wanted": request_id}).one_or_none()
    return experiment_record(row) if repeats(row, request_id, request_hash) else None


def get(transaction: Transaction, experiment: str) -> ExperimentRecord:
    """See `Store.get_experiment`."""
    row = transaction.connection.execute(_BY_ID, {"wanted": experiment}).one_or_none()
    if row is None:
        raise no_experiment(transaction, experiment)
    return experiment_record(row)


def get_several(transaction: Transaction, ids: Sequence[str], where: Filter) -> list[ExperimentRecord]:
    """See `Store.get_experiments`."""
    rows = transaction.connection.execute(
        sa.select(experiments).where(experiments.c.id.in_(sorted(set(ids))), experiment_condition(where))
    )
    found = {row.id: row for row in rows}
    if missing := [id for id in dict.fromkeys(ids) if id not in found]:
        raise NotFound(there_are_no("experiment", missing))
    return [experiment_record(found[id]) for id in ids]


def require(transaction: Transaction, experiment: str) -> None:
    """Raise NotFound if there is no such experiment."""
    found = transaction.connection.execute(sa.select(experiments.c.id).where(experiments.c.id == experiment))
    if found.one_or_none() is None:
        raise no_experiment(transaction, experiment)


def listing(
    transaction: Transaction,
    where: Filter,
    limit: int,
    before: tuple[float, str] | None,
    *,
    show_deleted: bool = False,
) -> list[ExperimentRecord]:
    """See `Store.list_experiments`."""
    newest = (experiments.c.create_time, experiments.c.id)
    statement = (
        sa.select(experiments)
        .where(experiment_condition(where))
        .order_by(*(column.desc() for column in newest))
        .limit(limit)
    )
    if not show_deleted:
        statement = statement.where(experiments.c.delete_time.is_(None))
    if before is not None:
        time, name = before
        statement = statement.where(
            sa.tuple_(*newest) < sa.tuple_(sa.literal(time, sa.Double()), sa.literal(name))
        )
    return [experiment_record(row) for row in transaction.connection.execute(statement)]


def cancel(transaction: Transaction, experiment: str) -> ExperimentRecord:
    """See `Store.cancel_experiment`."""
    with editing(transaction, experiment) as edit:
        if not edit.before.state.terminal and not edit.before.cancel_requested:
            edit.values |= {"cancel_requested": True, "pause_requested": False}
            edit.change(Change.CANCEL)
            edit.close_idle_packs()
    return get(transaction, experiment)


def pause(transaction: Transaction, experiment: str) -> ExperimentRecord:
    """See `Store.pause_experiment`."""
    with editing(transaction, experiment) as edit:
        if not edit.before.state.terminal and not edit.before.cancel_requested and not edit.pausing:
            # While it is paused, no dispatcher checks whether a node can hold it.
            edit.values |= {"pause_requested": True, "unplaceable_since": None}
            edit.change(Change.PAUSE)
    return get(transaction, experiment)


def resume(transaction: Transaction, experiment: str) -> ExperimentRecord:
    """See `Store.resume_experiment`."""
    with editing(transaction, experiment) as edit:
        if not edit.before.state.terminal and edit.pausing:
            edit.values["pause_requested"] = False
            edit.change(Change.RESUME)
    return get(transaction, experiment)


def experiment_record(row: sa.Row[Any]) -> ExperimentRecord:
    """The record of a row of `experiments`."""
    return ExperimentRecord(
        id=row.id,
        uid=row.uid,
        display_name=row.display_name,
        labels=row.labels,
        priority=row.priority,
        spec=row.spec,
        spec_hash=row.spec_hash,
        steps=row.steps,
        run_memory_bytes=row.run_memory_bytes,
        warnings=tuple(row.warnings),
        state=row.state,
        counts={state: getattr(row, state.value.lower()) for state in RunState},
        committed_steps=row.committed_steps,
        sequence=row.seq,
        mlflow_pending_runs=row.mlflow_pending_runs,
        create_time=row.create_time,
        start_time=row.start_time,
        end_time=row.end_time,
        shape=row.shape,
        dataset_sha256=row.dataset_sha256,
        unplaceable_since=row.unplaceable_since,
        project=row.project,
        owned_by=row.owned_by,
        notes=row.notes,
        trace=row.trace,
        delete_time=row.delete_time,
        purge_time=row.purge_time,
    )
