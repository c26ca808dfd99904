"""What MLflow does not hold yet, and the singleton lease of whoever sends it.

A run is due while something of it is there to be sent, and pending until its terminal state, its artifacts
and all segments up to its own last step have been sent. Terminal runs stay due until they are no longer
pending.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ipserver.errors import NotFound
from ipserver.names import lineage
from ipserver.states import RunState
from ipserver.store import clocks
from ipserver.store.database import Transaction
from ipserver.store.edits import Edit, editing
from ipserver.store.experiments import experiment_record
from ipserver.store.records import ForwardTask
from ipserver.store.runs import run_record, select_runs
from ipserver.store.tables import artifacts, attempts, experiments, runs, segments, singletons


def acquire_lease(transaction: Transaction, name: str, owner: str, ttl: float) -> bool:
    """See `Store.acquire_lease`."""
    now = transaction.now()
    row = transaction.connection.execute(
        sa.select(singletons).where(singletons.c.name == name).with_for_update()
    ).one_or_none()
    if row is None:
        transaction.connection.execute(
            sa.insert(singletons).values(name=name, owner=owner, expires=now + ttl, seconds=ttl)
        )
        return True
    if row.owner != owner and clocks.held(row.expires, row.seconds, now):
        return False
    transaction.connection.execute(
        sa.update(singletons)
        .where(singletons.c.name == name)
        .values(owner=owner, expires=now + ttl, seconds=ttl)
    )
    return True


def release_lease(transaction: Transaction, name: str, owner: str) -> None:
    """See `Store.release_lease`."""
    transaction.connection.execute(
        sa.delete(singletons).where(singletons.c.name == name, singletons.c.owner == owner)
    )


def tasks(
    transaction: Transaction,
    limit: int,
    exclude: Collection[tuple[str, int]],
    exclude_running: Collection[tuple[str, int]],
    exclude_experiments: Collection[str],
) -> list[ForwardTask]:
    """See `Store.forward_tasks`."""
    connection = transaction.connection
    skipped, running = _by_experiment(exclude), _by_experiment(exclude_running)
    due = sa.exists().where(runs.c.experiment == experiments.c.id, runs.c.due_since.is_not(None))
    waiting = connection.execute(
        sa.select(experiments)
        .where(
            experiments.c.mlflow_pending_runs > 0,
            due,
            experiments.c.id.not_in(sorted(exclude_experiments)),
        )
        .order_by(experiments.c.create_time, experiments.c.id)
    ).all()
    found: list[ForwardTask] = []
    for row in waiting:
        statement = (
            select_runs(row.id, runs.c.due_since.is_not(None))
            .where(
                runs.c.run_index.not_in(skipped[row.id]),
                sa.or_(runs.c.run_index.not_in(running[row.id]), runs.c.end_time.is_not(None)),
            )
            # Who has waited longest, so that busy runs do not starve the others.
            .order_by(None)
            .order_by(runs.c.due_since, runs.c.run_index)
            .limit(limit - len(found))
        )
        found += _tasks_of(transaction, row, connection.execute(statement).all())
        if len(found) >= limit:
            break
    return found


def _by_experiment(keys: Collection[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for experiment, index in sorted(keys):
        found[experiment].append(index)
    return found


def set_mlflow_run(transaction: Transaction, experiment: str, index: int, mlflow_run_id: str) -> str:
    """See `Store.set_mlflow_run`."""
    with editing(transaction, experiment) as edit:
        noted = transaction.connection.execute(
            sa.select(runs.c.mlflow_run_id).where(
                runs.c.experiment == experiment, runs.c.run_index == index, runs.c.mlflow_run_id != ""
            )
        ).scalar_one_or_none()
        if noted is None:
            _settle(edit, index, mlflow_run_id=mlflow_run_id)
    return noted or mlflow_run_id


def mark(
    transaction: Transaction,
    experiment: str,
    index: int,
    segment: int | None,
    paths: Collection[str],
    state: RunState | None,
) -> None:
    """See `Store.mark_forwarded`."""
    with editing(transaction, experiment) as edit:
        if paths:
            transaction.connection.execute(
                sa.update(artifacts)
                .where(
                    artifacts.c.experiment == experiment,
                    artifacts.c.run_index == index,
                    artifacts.c.path.in_(sorted(paths)),
                )
                .values(sent=True)
            )
        sent: dict[str, object] = {}
        if segment is not None:
            sent["sent_segment"] = segment
        if state is not None:
            sent["sent_state"] = state
        _settle(edit, index, **sent)


def known_experiments(transaction: Transaction) -> list[str]:
    """Experiments of which MLflow holds something."""
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


def _settle(edit: Edit, index: int, **sent: Any) -> None:
    """Notes what was sent and finds out whether the run is still due."""
    connection = edit.transaction.connection
    this = (runs.c.experiment == edit.experiment, runs.c.run_index == index)
    run = connection.execute(sa.select(runs).where(*this)).one_or_none()
    if run is None:
        raise NotFound(f"there is no run {index} in experiment {edit.experiment!r}")
    sent["sent_segment"] = max(run.sent_segment, sent.get("sent_segment", 0))
    state = sent.get("sent_state", run.sent_state)
    settled = (
        bool(sent.get("mlflow_run_id", run.mlflow_run_id))
        and (not run.state.terminal or state is run.state)
        and not _unsent(edit, run, sent["sent_segment"])
    )
    if settled:
        sent["due_since"] = None
        if run.state.terminal and run.due_since is not None:
            edit.pending -= 1
    elif run.due_since is not None:
        sent["due_since"] = edit.transaction.now()
    connection.execute(sa.update(runs).where(*this).values(**sent))


def _unsent(edit: Edit, run: sa.Row[Any], sent_segment: int) -> bool:
    """Whether a segment that concerns the run or one of its artifacts has not been sent."""
    newer = sa.exists().where(
        segments.c.experiment == edit.experiment,
        segments.c.pack.in_(lineage(run.pack)),
        segments.c.first_step <= run.committed_steps,
        segments.c.id > sent_segment,
    )
    files = sa.exists().where(
        artifacts.c.experiment == edit.experiment, artifacts.c.run_index == run.run_index, ~artifacts.c.sent
    )
    return bool(edit.transaction.connection.execute(sa.select(sa.or_(newer, files))).scalar_one())


def _tasks_of(
    transaction: Transaction, experiment: sa.Row[Any], due: Sequence[sa.Row[Any]]
) -> list[ForwardTask]:
    connection = transaction.connection
    begun: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for attempt in connection.execute(
        sa.select(attempts.c.pack, attempts.c.token, attempts.c.start_time).where(
            attempts.c.experiment == experiment.id, attempts.c.pack.in_({row.pack for row in due})
        )
    ):
        begun[attempt.pack].append((attempt.token, attempt.start_time))
    sent: dict[int, set[str]] = defaultdict(set)
    for row in connection.execute(
        sa.select(artifacts.c.run_index, artifacts.c.path).where(
            artifacts.c.experiment == experiment.id,
            artifacts.c.run_index.in_([row.run_index for row in due]),
            artifacts.c.sent,
        )
    ):
        sent[row.run_index].add(row.path)
    record = experiment_record(experiment)
    return [
        ForwardTask(
            experiment=record,
            run=run_record(row),
            attempt=_attempt(row, begun[row.pack]),
            after_segment=row.sent_segment,
            sent_artifacts=frozenset(sent[row.run_index]),
        )
        for row in due
    ]


def _attempt(run: sa.Row[Any], begun: Iterable[tuple[int, float]]) -> int:
    """The newest attempt at a run; later ones than its end are at the rest of its pack."""
    return max((token for token, start in begun if run.end_time is None or start <= run.end_time), default=0)
