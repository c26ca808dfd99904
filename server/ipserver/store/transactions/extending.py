"""Extensions: more runs for an existing experiment."""

from __future__ import annotations

import sqlalchemy as sa

from ipserver.environment import traces
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.store.database import Transaction
from ipserver.store.records.experiments import ExperimentRecord, Extension
from ipserver.store.states import RunState
from ipserver.store.tables import extensions
from ipserver.store.transactions import quotas
from ipserver.store.transactions.edits import editing
from ipserver.store.transactions.experiments import get, insert_runs
from ipserver.store.transactions.projects import lock
from ipserver.store.transactions.study_rounds import require_wanted
from ipserver.store.transactions.taken import repeats
from ipserver.store.transitions import extension_problem


class Overtaken(Exception):
    """Raised to roll back an extension whose experiment has been extended by another one first."""


def find_request(transaction: Transaction, request_id: str, request_hash: str) -> ExperimentRecord | None:
    """See `Store.find_extension`."""
    row = transaction.connection.execute(
        sa.select(extensions).where(extensions.c.request_id == request_id)
    ).one_or_none()
    return get(transaction, row.experiment) if repeats(row, request_id, request_hash) else None


def extend(
    transaction: Transaction,
    experiment: str,
    extension: Extension,
    study: tuple[str, int] | None = None,
) -> ExperimentRecord:
    """See `Store.extend_experiment`.

    Raises:
        Overtaken: Another extension came first.
    """
    if study is not None:
        require_wanted(transaction, *study)
    with editing(transaction, experiment) as edit:
        # Check again under the lock: the request may have been repeated concurrently.
        if extension.request_id and (
            first := find_request(transaction, extension.request_id, extension.request_hash)
        ):
            return first
        deleted = edit.before.delete_time is not None
        if text := extension_problem(
            edit.before.state, cancelling=edit.before.cancel_requested, deleted=deleted
        ):
            raise InvalidRequest([FieldViolation("name", text)])
        if edit.before.spec_hash != extension.extended_hash:
            raise Overtaken
        row = edit.before
        lock(transaction, row.project, "name")
        adding = {"live_experiments": int(row.state.terminal), "queued_runs": len(extension.runs)}
        quotas.check_growth(transaction, row, extension.asked_by, adding)
        before = sum(int(getattr(edit.before, state.value.lower())) for state in RunState)
        if edit.before.state.terminal:
            edit.values["pause_requested"] = False
        state = RunState.PAUSED if edit.pausing else RunState.QUEUED
        insert_runs(transaction, experiment, extension.runs, state)
        edit.add(len(extension.runs), state)
        if edit.before.planned:
            edit.values["planned_runs"] = before
        # A running planner does not know of the new runs. Ending its lease keeps it from saving its plan.
        edit.values |= {"planned": False, "planner": "", "planner_expires": None, "planner_seconds": None}
        edit.values |= {
            "spec": extension.spec,
            "spec_hash": extension.spec_hash,
            "run_memory_bytes": extension.run_memory_bytes,
            "warnings": list(extension.warnings),
            "trace": traces.context(),
        }
        edit.event(
            "extended",
            {
                **{axis: list(values) for axis, values in extension.added.items()},
                "first_run_index": before,
                "runs": len(extension.runs),
            },
        )
        if extension.request_id:
            transaction.connection.execute(
                sa.insert(extensions).values(
                    request_id=extension.request_id,
                    request_hash=extension.request_hash,
                    experiment=experiment,
                    create_time=transaction.now(),
                )
            )
    return get(transaction, experiment)
