"""Runs and their attempts, segments and artifacts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from ipserver.errors import NotFound
from ipserver.names import lineage
from ipserver.store.database import Transaction
from ipserver.store.records.files import ArtifactRecord
from ipserver.store.records.filters import Filter, Order
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import AttemptRecord, Failure, RunRecord
from ipserver.store.records.slices import SegmentRecord
from ipserver.store.states import FailureReason
from ipserver.store.summary import VALUES, Summary
from ipserver.store.tables import artifacts, attempts, experiments, runs, segments
from ipserver.store.transactions import experiments as experiment_store
from ipserver.store.transactions.comparisons import run_condition
from ipserver.store.transactions.edits import editing
from ipserver.store.transactions.missing import there_are_no
from ipserver.store.transactions.ordering import Value, following, run_order
from ipserver.store.transitions import Change

# Values of a row in the order of the fields of `Summary`.
_SUMMARY: Final = attrgetter(*VALUES)


def select_runs(experiment: str, *where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Rows for `run_record`, by index."""
    return (
        sa.select(runs, experiments.c.steps, experiments.c.planned, experiments.c.planned_runs)
        .join(experiments, experiments.c.id == runs.c.experiment)
        .where(runs.c.experiment == experiment, *where)
        .order_by(runs.c.run_index)
    )


def get(transaction: Transaction, experiment: str, index: int) -> RunRecord:
    """See `Store.get_run`."""
    row = transaction.connection.execute(select_runs(experiment, runs.c.run_index == index)).one_or_none()
    if row is None:
        total = sum(experiment_store.get(transaction, experiment).counts.values())
        raise NotFound(
            f"there is no run {index} in experiment {experiment!r}; its {total} runs are 0 to {total - 1}"
        )
    return run_record(row)


def get_several(transaction: Transaction, experiment: str, indices: Sequence[int]) -> list[RunRecord]:
    """See `Store.get_runs`."""
    total = sum(experiment_store.get(transaction, experiment).counts.values())
    rows = transaction.connection.execute(select_runs(experiment, runs.c.run_index.in_(sorted(set(indices)))))
    found = {row.run_index: row for row in rows}
    if missing := [index for index in dict.fromkeys(indices) if index not in found]:
        none = there_are_no("run", missing)
        raise NotFound(f"{none} in experiment {experiment!r}; its {total} runs are 0 to {total - 1}")
    return [run_record(found[index]) for index in indices]


def listing(
    transaction: Transaction, experiment: str, where: Filter, limit: int, after: int
) -> list[RunRecord]:
    """See `Store.list_runs`."""
    experiment_store.require(transaction, experiment)
    statement = select_runs(experiment, runs.c.run_index > after, run_condition(where)).limit(limit)
    return [run_record(row) for row in transaction.connection.execute(statement)]


def ordered(
    transaction: Transaction,
    experiment: str,
    where: Filter,
    limit: int,
    order: Sequence[Order],
    place: Sequence[Value],
) -> list[RunRecord]:
    """See `Store.list_runs`."""
    experiment_store.require(transaction, experiment)
    # Only keys and indices of all runs are sorted, and then the page's rows read: half the time of sorting
    # rows.
    page = (
        select_runs(experiment, run_condition(where), following(order, place))
        .with_only_columns(runs.c.run_index, maintain_column_froms=True)
        .order_by(None)
        .order_by(*run_order(order))
        .limit(limit)
        .subquery()
    )
    statement = select_runs(experiment, runs.c.run_index.in_(sa.select(page.c.run_index)))
    statement = statement.order_by(None).order_by(*run_order(order))
    return [run_record(row) for row in transaction.connection.execute(statement)]


def indices(transaction: Transaction, experiment: str, where: Filter) -> frozenset[int]:
    """See `Store.run_indices`."""
    experiment_store.require(transaction, experiment)
    statement = sa.select(runs.c.run_index).where(runs.c.experiment == experiment, run_condition(where))
    return frozenset(transaction.connection.execute(statement).scalars())


def cancel(transaction: Transaction, experiment: str, index: int) -> RunRecord:
    """See `Store.cancel_run`."""
    with editing(transaction, experiment) as edit:
        edit.change(Change.CANCEL, runs.c.run_index == index)
        edit.close_idle_packs()
    return get(transaction, experiment, index)


def list_attempts(transaction: Transaction, experiment: str, index: int) -> list[AttemptRecord]:
    """See `Store.attempts`."""
    run = get(transaction, experiment, index)
    statement = (
        sa.select(attempts)
        .where(attempts.c.experiment == experiment, attempts.c.pack.in_(lineage(run.pack)))
        .order_by(attempts.c.token)
    )
    if run.end_time is not None:
        # Later attempts train the rest of the pack, with this run masked. By number: an earlier attempt
        # may have a later time if a clock was ahead.
        begun = statement.where(attempts.c.start_time <= run.end_time).with_only_columns(
            sa.func.max(attempts.c.token), maintain_column_froms=True
        )
        statement = statement.where(attempts.c.token <= begun.order_by(None).scalar_subquery())
    return [
        AttemptRecord(
            number=row.token,
            token=row.token,
            owner=row.owner,
            first_step=row.first_step,
            start_time=row.start_time,
            end_time=row.end_time,
            end_reason=row.end_reason,
        )
        for row in transaction.connection.execute(statement)
    ]


def list_segments(
    transaction: Transaction,
    experiment: str,
    packs: Collection[str] | None,
    steps: tuple[int, int | None],
    after_id: int,
    after: tuple[str, int] | None,
    limit: int,
) -> list[SegmentRecord]:
    """The next segments in the order of (pack, first step) that may hold points of `steps`.

    Args:
        transaction: Where to read.
        experiment: The experiment's id.
        packs: Only these packs and their ancestors; None: all.
        steps: First and last step; None as last: no limit.
        after_id: Only segments with a greater id.
        after: Pack and first step of the segment after which to continue.
        limit: Maximum number of segments.
    """
    if after is None:
        experiment_store.require(transaction, experiment)
    first, last = steps
    order = (segments.c.pack, segments.c.first_step)
    statement = (
        sa.select(segments)
        .where(segments.c.experiment == experiment, segments.c.last_step >= first, segments.c.id > after_id)
        .order_by(*order)
        .limit(limit)
    )
    if last is not None:
        # An evaluation before a slice's first update is recorded at the previous step.
        statement = statement.where(segments.c.first_step <= last + 1)
    if packs is not None:
        wanted = {name for pack in packs for name in lineage(pack)}
        statement = statement.where(segments.c.pack.in_(sorted(wanted)))
    if after is not None:
        statement = statement.where(sa.tuple_(*order) > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])))
    return [
        SegmentRecord(
            id=row.id, pack=row.pack, first_step=row.first_step, last_step=row.last_step, data=row.data
        )
        for row in transaction.connection.execute(statement)
    ]


def list_artifacts(transaction: Transaction, experiment: str, index: int) -> list[ArtifactRecord]:
    """See `Store.artifacts`."""
    get(transaction, experiment, index)
    statement = (
        sa.select(artifacts)
        .where(artifacts.c.experiment == experiment, artifacts.c.run_index == index)
        .order_by(artifacts.c.path)
    )
    return [artifact_record(row) for row in transaction.connection.execute(statement)]


def get_artifact(transaction: Transaction, experiment: str, index: int, path: str) -> ArtifactRecord:
    """See `Store.get_artifact`."""
    row = transaction.connection.execute(
        sa.select(artifacts).where(
            artifacts.c.experiment == experiment, artifacts.c.run_index == index, artifacts.c.path == path
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"run {index} of experiment {experiment!r} has no artifact {path!r}")
    return artifact_record(row)


def run_record(row: sa.Row[Any]) -> RunRecord:
    """The record of a row of `select_runs`."""
    return RunRecord(
        experiment=row.experiment,
        index=row.run_index,
        parameterization=row.parameterization,
        **NetworkShape.values_of(row),
        base_learning_rate=row.base_learning_rate,
        seed=row.seed,
        state=row.state,
        # A plan becomes visible when it is complete.
        pack=row.pack if row.planned or row.run_index < row.planned_runs else "",
        committed_steps=row.committed_steps,
        steps=row.steps,
        summary=Summary(*_SUMMARY(row)),
        calibrated_rates=tuple(row.calibrated_rates),
        failure=_failure(row.failure),
        start_time=row.start_time,
        end_time=row.end_time,
        mlflow_run_id=row.mlflow_run_id,
    )


def _failure(stored: Mapping[str, str] | None) -> Failure | None:
    if stored is None:
        return None
    return Failure(
        reason=FailureReason(stored["reason"]),
        message=stored["message"],
        traceback=stored["traceback"],
        log_tail=stored["log_tail"],
    )


def artifact_record(row: sa.Row[Any]) -> ArtifactRecord:
    """The record of a row of `artifacts`."""
    return ArtifactRecord(
        experiment=row.experiment,
        run_index=row.run_index,
        path=row.path,
        location=row.location,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        step=row.step,
        create_time=row.create_time,
    )
