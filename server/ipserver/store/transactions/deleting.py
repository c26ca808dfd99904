"""Deletion: hidden at once, removed permanently later.

    existing --delete-->                              deleted
    deleted  --undelete-->                            existing
    deleted  --purge, or end of retention time-->     purging
    purging  --files removed, then forget-->          purged

Only ended experiments and studies can be deleted. A dispatcher's sweeper takes the last step in several
transactions. Interrupted steps are repeated.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import sqlalchemy as sa

from ipserver import names
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.store.database import Transaction
from ipserver.store.records.audit import OwnActs
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.studies import StudyRecord
from ipserver.store.tables import (
    attempts,
    events,
    experiments,
    metadata,
    purged,
    runs,
    segments,
    studies,
    study_rounds,
)
from ipserver.store.transactions import auditing, projects, quotas
from ipserver.store.transactions import experiments as experiment_store
from ipserver.store.transactions import studies as study_store
from ipserver.store.transactions.edits import Edit, editing
from ipserver.store.transactions.updating import require_etag

# Maximum number of rows of a table removed per transaction. This bounds how long other writers wait.
_ROWS_AT_ONCE: Final = 2000
_TIME_IS_UP: Final = "retention rule of what is deleted"
_NOT_DELETED: Final = {"delete_time": None, "purge_time": None}


def delete_experiment(
    transaction: Transaction, experiment: str, keep_seconds: float, etag: str
) -> ExperimentRecord:
    """See `Store.delete_experiment`."""
    with editing(transaction, experiment) as edit:
        require_etag(experiment_store.experiment_record(edit.before), etag)
        if edit.before.delete_time is None:
            _require_ended(edit.before)
            if study := _asked_by(transaction, experiment):
                text = f"it belongs to study {study!r}, which has not ended; cancel that, or wait for its end"
                raise InvalidRequest([FieldViolation("name", text)])
            edit.values |= _deleted(transaction, keep_seconds)
    return experiment_store.get(transaction, experiment)


def undelete_experiment(transaction: Transaction, experiment: str) -> ExperimentRecord:
    """See `Store.undelete_experiment`."""
    with editing(transaction, experiment) as edit:
        if edit.before.delete_time is not None:
            _require_not_purging(edit.before)
            edit.values |= {**_NOT_DELETED, "kept": True}
    return experiment_store.get(transaction, experiment)


def delete_old(transaction: Transaction, keep_seconds: float, limit: int, acts: OwnActs) -> list[str]:
    """See `Store.delete_old_experiments`."""
    now, old = transaction.now(), dict[str, float]()
    for project in projects.listing(transaction):
        days = quotas.retention_days(transaction, project)
        if days is not None:
            found = sa.select(experiments.c.id).where(
                experiments.c.project == project,
                experiments.c.end_time <= now - 86_400.0 * days,
                experiments.c.delete_time.is_(None),
                ~experiments.c.kept,
            )
            old |= dict.fromkeys(transaction.connection.execute(found).scalars(), days)
    # Locks of several experiments are taken in the order of their ids.
    free = [experiment for experiment in sorted(old) if _asked_by(transaction, experiment) is None][:limit]
    for experiment in free:
        _delete_old(transaction, experiment, keep_seconds, old[experiment], acts)
    return free


def _delete_old(
    transaction: Transaction, experiment: str, keep_seconds: float, days: float, acts: OwnActs
) -> None:
    with editing(transaction, experiment) as edit:
        # It may have been extended, deleted or undeleted since it was found.
        if edit.before.state.terminal and edit.before.delete_time is None and not edit.before.kept:
            edit.values |= _deleted(transaction, keep_seconds)
            text = f"it was deleted: its project keeps experiments for {days:g} days after their end"
            edit.event("notice", {"message": text})
            rule = f"retention rule of project {edit.before.project}"
            _note(transaction, acts, rule, "ExperimentService/DeleteExperiment", edit.before)


def purge_experiment(transaction: Transaction, experiment: str) -> ExperimentRecord:
    """See `Store.purge_experiment`."""
    with editing(transaction, experiment) as edit:
        _require_deleted(edit.before)
        if not edit.before.purging:
            edit.values["purge_time"] = transaction.now()
            _begin(edit)
    return experiment_store.get(transaction, experiment)


def delete_study(transaction: Transaction, study: str, keep_seconds: float) -> StudyRecord:
    """See `Store.delete_study`."""
    row = study_store.locked(transaction, study)
    if row.delete_time is None:
        _require_ended(row)
        study_store.change(transaction, row, **_deleted(transaction, keep_seconds))
    return study_store.get(transaction, study)


def undelete_study(transaction: Transaction, study: str) -> StudyRecord:
    """See `Store.undelete_study`."""
    row = study_store.locked(transaction, study)
    if row.delete_time is not None:
        _require_not_purging(row)
        study_store.change(transaction, row, **_NOT_DELETED)
    return study_store.get(transaction, study)


def purge_study(transaction: Transaction, study: str) -> StudyRecord:
    """See `Store.purge_study`."""
    row = study_store.locked(transaction, study)
    _require_deleted(row)
    if not row.purging:
        study_store.change(transaction, row, purge_time=transaction.now(), purging=True)
    return study_store.get(transaction, study)


def any_due(transaction: Transaction) -> bool:
    """Whether the retention time of a deleted experiment or study has ended."""
    now = transaction.now()
    due = sa.or_(
        *(sa.exists().where(table.c.purge_time <= now).correlate(None) for table in (experiments, studies))
    )
    return bool(transaction.connection.execute(sa.select(due)).scalar_one())


def begin_due(transaction: Transaction, limit: int, acts: OwnActs) -> None:
    """Begin to purge some experiments whose retention time has ended; they can no longer be undeleted."""
    now = transaction.now()
    due = sa.select(experiments.c.id).where(experiments.c.purge_time <= now, ~experiments.c.purging)
    for experiment in transaction.connection.execute(due.order_by(experiments.c.id).limit(limit)).scalars():
        with editing(transaction, experiment) as edit:
            if edit.before.purge_time is not None and edit.before.purge_time <= now:
                _begin(edit)
                _note(transaction, acts, _TIME_IS_UP, "ExperimentService/PurgeExperiment", edit.before)


def purging(transaction: Transaction, quiet_seconds: float, limit: int) -> list[str]:
    """See `Store.purged_experiments`."""
    # A worker that was cut off may still write for a while.
    recent = sa.exists().where(
        attempts.c.experiment == experiments.c.id, attempts.c.end_time > transaction.now() - quiet_seconds
    )
    statement = sa.select(experiments.c.id).where(
        experiments.c.purge_time.is_not(None), experiments.c.purging, ~recent
    )
    return list(transaction.connection.execute(statement.order_by(experiments.c.id).limit(limit)).scalars())


def forget_experiment(transaction: Transaction, experiment: str) -> bool:
    """See `Store.forget_purged_experiment`."""
    connection = transaction.connection
    row = connection.execute(
        sa.select(experiments).where(experiments.c.id == experiment, experiments.c.purging).with_for_update()
    ).one_or_none()
    if row is None:
        return True
    # Tables that may have very many rows are emptied in parts.
    for table, key in ((segments, segments.c.id), (events, events.c.seq)):
        some = sa.select(key).where(table.c.experiment == experiment).order_by(key).limit(_ROWS_AT_ONCE)
        if connection.execute(
            sa.delete(table).where(table.c.experiment == experiment, key.in_(some))
        ).rowcount:
            return False
    month = quotas.month_start(transaction.now())
    spent = sa.select(sa.func.coalesce(sa.func.sum(quotas.seconds_since(month, transaction.now())), 0.0))
    seconds = connection.execute(spent.where(attempts.c.experiment == experiment)).scalar_one()
    for table in reversed(metadata.sorted_tables):
        if any(key.column.table is experiments for key in table.foreign_keys):
            connection.execute(sa.delete(table).where(table.c.experiment == experiment))
    _remember(transaction, row, names.experiment_name(experiment), row.shape, float(seconds))
    connection.execute(sa.delete(experiments).where(experiments.c.id == experiment))
    return True


def forget_studies(transaction: Transaction, acts: OwnActs) -> int:
    """See `Store.forget_purged_studies`."""
    connection = transaction.connection
    due = connection.execute(
        sa.select(studies).where(studies.c.purge_time <= transaction.now()).with_for_update()
    ).all()
    for row in due:
        connection.execute(sa.delete(study_rounds).where(study_rounds.c.study == row.id))
        connection.execute(sa.delete(studies).where(studies.c.id == row.id))
        _remember(transaction, row, names.study_name(row.id), "", 0.0)
        if not row.purging:  # otherwise a user's request to purge it is in the audit log
            _note(transaction, acts, _TIME_IS_UP, "StudyService/PurgeStudy", row)
    return len(due)


def _note(transaction: Transaction, acts: OwnActs, rule: str, method: str, row: sa.Row[Any]) -> None:
    """Record in the audit log that a rule has acted on an experiment or study."""
    named = names.study_name if method.startswith("Study") else names.experiment_name
    auditing.add(transaction, acts.call(rule, method, named(row.id), row.project), "OK", acts.keep_seconds)


def _begin(edit: Edit) -> None:
    """Begin to purge: nothing more is sent to MLflow, and it cannot be undeleted."""
    edit.values["purging"] = True
    edit.pending = -int(edit.before.mlflow_pending_runs)
    edit.transaction.connection.execute(
        sa.update(runs)
        .where(runs.c.experiment == edit.experiment, runs.c.due_since.is_not(None))
        .values(due_since=None)
    )


def _deleted(transaction: Transaction, keep_seconds: float) -> dict[str, Any]:
    now = transaction.now()
    return {"delete_time": now, "purge_time": now + keep_seconds}


def _remember(transaction: Transaction, row: sa.Row[Any], name: str, shape: str, seconds: float) -> None:
    transaction.connection.execute(
        sa.insert(purged).values(
            name=name,
            uid=row.uid,
            project=row.project,
            owned_by=row.owned_by,
            purge_time=transaction.now(),
            shape=shape,
            seconds=seconds,
        )
    )


def _require_ended(row: sa.Row[Any]) -> None:
    if not row.state.terminal:
        text = f"it is {row.state}; cancel it, and delete it when it has ended"
        raise InvalidRequest([FieldViolation("name", text)])


def _require_deleted(row: sa.Row[Any]) -> None:
    if row.delete_time is None:
        text = "it is not deleted; delete it first, then it can be purged"
        raise InvalidRequest([FieldViolation("name", text)])


def _require_not_purging(row: sa.Row[Any]) -> None:
    if row.purging:
        text = "it is being purged and cannot be undeleted; its runs may be in MLflow"
        raise InvalidRequest([FieldViolation("name", text)])


def _asked_by(transaction: Transaction, experiment: str) -> str | None:
    """The unfinished study that submitted this experiment, or None."""
    rows = transaction.connection.execute(
        sa.select(study_rounds.c.study, study_rounds.c.actions)
        .join(studies, studies.c.id == study_rounds.c.study)
        .where(studies.c.end_time.is_(None))
    )
    return next((row.study for row in rows if _mentions(row.actions, experiment)), None)


def _mentions(actions: Collection[dict[str, Any]], experiment: str) -> bool:
    return any(action["experiment"] == experiment for action in actions)
