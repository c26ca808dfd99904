"""Runs with data that MLflow does not hold yet, and the forwarder's singleton lease.

A run is due while it has data to be sent. It is pending until its terminal state, its artifacts and all
segments up to its own last step have been sent. Terminal runs stay due until they are no longer pending.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from ipserver.errors import NotFound
from ipserver.names import lineage
from ipserver.store.database import Transaction
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.files import ArtifactRecord
from ipserver.store.records.forwarding import Forwarded, ForwardTask
from ipserver.store.states import RunState
from ipserver.store.tables import Name, artifacts, attempts, experiments, runs, segments
from ipserver.store.transactions.edits import Edit, editing
from ipserver.store.transactions.experiments import experiment_record
from ipserver.store.transactions.runs import artifact_record, run_record, select_runs

# Number of experiments that share the tasks of one call.
_SHARING = 8
# Bounds one search for experiments with due runs.
_AT_ONCE = 64


def tasks(
    transaction: Transaction,
    limit: int,
    after: str,
    exclude: Collection[tuple[str, int]],
    exclude_experiments: Collection[str],
    interval: float,
) -> list[ForwardTask]:
    """See `Store.forward_tasks`."""
    skipped: dict[str, list[int]] = defaultdict(list)
    for experiment, index in sorted(exclude):
        skipped[experiment].append(index)
    names = (name for name in _due_experiments(transaction, after) if name not in exclude_experiments)
    records: dict[str, ExperimentRecord] = {}
    due: list[sa.Row[Any]] = []
    while len(due) < limit and (some := list(islice(names, _SHARING))):
        records |= _records(transaction, some)
        for number, name in enumerate(some):
            share = -((len(due) - limit) // (len(some) - number))  # rounded up
            due += _due_runs(transaction, name, skipped[name], interval, share)
    if not due:
        return []
    begun, files = _attempts_at(transaction, due), _files_of(transaction, due)
    return [
        ForwardTask(
            experiment=records[row.experiment],
            run=run_record(row),
            attempt=_attempt(row, begun[row.experiment, row.pack]),
            after_segment=row.sent_segment,
            files=tuple(files[row.experiment, row.run_index]),
        )
        for row in due
    ]


def _due_experiments(transaction: Transaction, after: str) -> Iterator[str]:
    """Ids of experiments with due runs in order: those after `after`, then the others up to it."""
    yield from _due_after(transaction, after)
    for name in _due_after(transaction, ""):
        if name > after:
            return
        yield name


def _due_after(transaction: Transaction, name: str) -> Iterator[str]:
    """Ids of experiments with due runs that follow `name`."""
    while some := transaction.connection.execute(_NEXT_DUE, {"last": name}).scalars().all():
        yield from some
        name = some[-1]


def _next_due() -> sa.Select[str]:
    """The next experiments with due runs after `:last`, each found by one search in the index of due runs.

    (DISTINCT would read all due runs of each experiment.)
    """

    def following(last: sa.ColumnElement[str]) -> sa.ScalarSelect[str]:
        return (
            sa.select(runs.c.experiment)
            .where(runs.c.due_since.is_not(None), runs.c.experiment > last)
            # Order by the index's columns, so that every database uses this index.
            .order_by(runs.c.experiment, runs.c.due_since, runs.c.run_index)
            .limit(1)
            .scalar_subquery()
        )

    first = sa.select(following(sa.bindparam("last", type_=Name)).label("name"))
    due = first.cte("due", recursive=True)
    due = due.union_all(sa.select(following(due.c.name)).where(due.c.name.is_not(None)))
    return sa.select(due.c.name).where(due.c.name.is_not(None)).limit(_AT_ONCE)


_NEXT_DUE = _next_due()


def _records(transaction: Transaction, names: Collection[str]) -> dict[str, ExperimentRecord]:
    rows = transaction.connection.execute(sa.select(experiments).where(experiments.c.id.in_(names)))
    return {row.id: experiment_record(row) for row in rows}


def mark(transaction: Transaction, sent: Sequence[Forwarded]) -> list[Forwarded]:
    """See `Store.mark_forwarded`."""
    by_experiment: dict[str, list[Forwarded]] = defaultdict(list)
    for one in sent:
        by_experiment[one.experiment].append(one)
    lost: list[Forwarded] = []
    there = set(
        transaction.connection.execute(
            sa.select(experiments.c.id)
            .where(experiments.c.id.in_(by_experiment))
            .order_by(experiments.c.id)
            .with_for_update()
        ).scalars()
    )
    for experiment in sorted(there):  # others were purged; the same order everywhere avoids deadlocks
        with editing(transaction, experiment) as edit:
            lost += _mark(edit, by_experiment[experiment])
    return lost


def _mark(edit: Edit, sent: Sequence[Forwarded]) -> list[Forwarded]:
    """Record what was sent for one experiment and determine which of its runs are still due."""
    connection = edit.transaction.connection
    own = runs.c.experiment == edit.experiment
    indices = [one.index for one in sent]
    rows = {
        row.run_index: row
        for row in connection.execute(sa.select(runs).where(own, runs.c.run_index.in_(indices)))
    }
    if missing := sorted(set(indices) - set(rows)):
        raise NotFound(f"there is no run {missing[0]} in experiment {edit.experiment!r}")
    believed, lost = [], []
    for one in sent:
        noted = rows[one.index].mlflow_run_id
        if noted == one.mlflow_run_id or (one.new and not noted):
            believed.append(one)
        elif noted:
            lost.append(one)
    _mark_files(edit, believed)
    changes = _changes(edit, [(one, rows[one.index]) for one in believed])
    if changes:
        connection.execute(sa.update(runs).where(own, runs.c.run_index == sa.bindparam("this")), changes)
    return lost


def _mark_files(edit: Edit, sent: Iterable[Forwarded]) -> None:
    files = [
        {"this": file.run_index, "named": file.path, "lying": file.location}
        for one in sent
        for file in one.files
    ]
    if files:
        statement = sa.update(artifacts).where(
            artifacts.c.experiment == edit.experiment,
            artifacts.c.run_index == sa.bindparam("this"),
            artifacts.c.path == sa.bindparam("named"),
            # A newer file may have replaced it meanwhile.
            artifacts.c.location == sa.bindparam("lying"),
        )
        edit.transaction.connection.execute(statement.values(sent=True), files)


def _changes(edit: Edit, sent: Sequence[tuple[Forwarded, sa.Row[Any]]]) -> list[dict[str, Any]]:
    """New values of the runs' columns; also counts the runs with nothing left to send."""
    unpublished = _unpublished(edit, [one.index for one, _ in sent])
    newer: dict[tuple[str, int, int], bool] = {}
    changes = []
    for one, run in sent:
        segment = max(run.sent_segment, one.segment)
        state = one.state or run.sent_state
        reached = run.pack, run.committed_steps, segment  # the same for most runs of a pack
        if reached not in newer:
            newer[reached] = _has_newer_segment(edit, *reached)
        settled = (
            (not run.state.terminal or state is run.state)
            and not newer[reached]
            and one.index not in unpublished
        )
        if settled and run.state.terminal and run.due_since is not None:
            edit.pending -= 1
        changes.append(
            {
                "this": one.index,
                "mlflow_run_id": one.mlflow_run_id,
                "sent_segment": segment,
                "sent_state": state,
                "due_since": None if settled or run.due_since is None else edit.transaction.now(),
            }
        )
    return changes


def _unpublished(edit: Edit, indices: Collection[int]) -> set[int]:
    """Runs with files that have not been sent."""
    statement = sa.select(artifacts.c.run_index).where(
        artifacts.c.experiment == edit.experiment, artifacts.c.run_index.in_(indices), ~artifacts.c.sent
    )
    return set(edit.transaction.connection.execute(statement).scalars())


def _has_newer_segment(edit: Edit, pack: str, committed_steps: int, sent_segment: int) -> bool:
    newer = sa.exists().where(
        segments.c.experiment == edit.experiment,
        segments.c.pack.in_(lineage(pack)),
        segments.c.first_step <= committed_steps,
        segments.c.id > sent_segment,
    )
    return bool(edit.transaction.connection.execute(sa.select(newer)).scalar_one())


def known_experiments(transaction: Transaction) -> list[str]:
    """Experiments with data in MLflow."""
    known = sa.select(runs.c.experiment).where(runs.c.mlflow_run_id != "").distinct()
    return list(transaction.connection.execute(known.order_by(runs.c.experiment)).scalars())


def resend(transaction: Transaction, experiment: str) -> int:
    """See `Store.resend`."""
    connection = transaction.connection
    with editing(transaction, experiment) as edit:
        known = (runs.c.experiment == experiment, runs.c.mlflow_run_id != "")
        settled = sa.select(sa.func.count()).where(
            *known, runs.c.due_since.is_(None), runs.c.state.in_([s for s in RunState if s.terminal])
        )
        edit.pending += connection.execute(settled).scalar_one()
        since = sa.func.coalesce(runs.c.due_since, transaction.now())
        forgotten = {"mlflow_run_id": "", "sent_segment": 0, "sent_state": None, "due_since": since}
        count = connection.execute(sa.update(runs).where(*known).values(forgotten)).rowcount
        connection.execute(
            sa.update(artifacts).where(artifacts.c.experiment == experiment).values(sent=False)
        )
    return count


def _due_runs(
    transaction: Transaction, experiment: str, skipped: Collection[int], interval: float, limit: int
) -> Sequence[sa.Row[Any]]:
    now = transaction.now()
    # A time in the future was written before the clock was set back.
    fresh = sa.and_(runs.c.due_since > now - interval, runs.c.due_since < now + interval)
    statement = (
        select_runs(experiment, runs.c.due_since.is_not(None))
        .where(
            runs.c.run_index.not_in(skipped),
            sa.or_(runs.c.end_time.is_not(None), runs.c.mlflow_run_id == "", ~fresh),
        )
        # Longest waiting first, so that busy runs do not starve the others.
        .order_by(None)
        .order_by(runs.c.due_since, runs.c.run_index)
        .limit(limit)
    )
    return transaction.connection.execute(statement).all()


def _attempts_at(
    transaction: Transaction, due: Sequence[sa.Row[Any]]
) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Token and start of every attempt, by experiment and pack."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    # Query the product of experiments and packs, a superset: SQLite does not use an index for pairs.
    statement = sa.select(attempts).where(
        attempts.c.experiment.in_({row.experiment for row in due}),
        attempts.c.pack.in_({row.pack for row in due}),
    )
    for row in transaction.connection.execute(statement):
        found[row.experiment, row.pack].append((row.token, row.start_time))
    return found


def _files_of(
    transaction: Transaction, due: Sequence[sa.Row[Any]]
) -> dict[tuple[str, int], list[ArtifactRecord]]:
    """Files that have not been sent, by experiment and run."""
    found: dict[tuple[str, int], list[ArtifactRecord]] = defaultdict(list)
    statement = sa.select(artifacts).where(
        artifacts.c.experiment.in_({row.experiment for row in due}),
        artifacts.c.run_index.in_({row.run_index for row in due}),
        ~artifacts.c.sent,
    )
    statement = statement.order_by(artifacts.c.path)
    for row in transaction.connection.execute(statement):
        found[row.experiment, row.run_index].append(artifact_record(row))
    return found


def _attempt(run: sa.Row[Any], begun: Iterable[tuple[int, float]]) -> int:
    """Number of the newest attempt at a run; attempts after the run's end train only the rest of its pack."""
    return max((token for token, start in begun if run.end_time is None or start <= run.end_time), default=0)
