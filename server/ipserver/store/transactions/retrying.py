"""Retries: failed runs are queued again, and continue from where they stopped.

A failed run's pack has ended, and its checkpoints do not fit a pack of the failed runs only. So the failed
runs become a new part of the pack, as after a split (`splitting`): the part repeats the committed steps
without recording them and continues from there. Runs without a pack are planned again.
"""

from __future__ import annotations

from collections import defaultdict

import sqlalchemy as sa

from ipserver.environment import traces
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.names import part_of
from ipserver.store.database import Transaction
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.states import RunState
from ipserver.store.tables import extensions, packs, runs
from ipserver.store.transactions import quotas
from ipserver.store.transactions import runs as run_store
from ipserver.store.transactions.edits import Edit, editing
from ipserver.store.transactions.experiments import get
from ipserver.store.transactions.extending import find_request
from ipserver.store.transactions.projects import lock
from ipserver.store.transactions.splitting import insert_part
from ipserver.store.transitions import Change, retry_problem


def retry(
    transaction: Transaction, experiment: str, request_id: str, request_hash: str, index: int | None
) -> ExperimentRecord:
    """See `Store.retry_failed`."""
    with editing(transaction, experiment) as edit:
        # Check again under the lock: the request may have been repeated concurrently.
        if request_id and (first := find_request(transaction, request_id, request_hash)):
            return first
        row = edit.before
        deleted = row.delete_time is not None
        if text := retry_problem(cancelling=row.cancel_requested, deleted=deleted):
            raise InvalidRequest([FieldViolation("name", text)])
        if index is not None:
            _require_failed(transaction, experiment, index)
        failed = _failed(edit, index)
        if failed:
            lock(transaction, row.project, "name")
            adding = {"live_experiments": int(row.state.terminal), "queued_runs": len(failed)}
            quotas.check(transaction, row.project, row.owned_by, adding)
            if row.state.terminal:
                edit.values["pause_requested"] = False
            edit.values["unplaceable_since"] = None
            _queue(edit, failed, () if index is None else (runs.c.run_index == index,))
        if request_id:
            transaction.connection.execute(
                sa.insert(extensions).values(
                    request_id=request_id,
                    request_hash=request_hash,
                    experiment=experiment,
                    create_time=transaction.now(),
                )
            )
    return get(transaction, experiment)


def _require_failed(transaction: Transaction, experiment: str, index: int) -> None:
    run = run_store.get(transaction, experiment, index)
    if run.state.terminal and run.state is not RunState.FAILED:
        why = (
            "the same numbers would diverge again"
            if run.state is RunState.DIVERGED
            else "only failed runs can be trained again"
        )
        raise InvalidRequest([FieldViolation("name", f"run {index} is {run.state}; {why}")])


def _failed(edit: Edit, index: int | None) -> dict[int, str]:
    """Index and pack of the failed runs to retry."""
    statement = sa.select(runs.c.run_index, runs.c.pack).where(
        runs.c.experiment == edit.experiment, runs.c.state == RunState.FAILED
    )
    if index is not None:
        statement = statement.where(runs.c.run_index == index)
    found = edit.transaction.connection.execute(statement.order_by(runs.c.run_index))
    return {row.run_index: row.pack for row in found}


def _queue(edit: Edit, failed: dict[int, str], meant: tuple[sa.ColumnElement[bool], ...]) -> None:
    """Queue the failed runs that satisfy `meant`, and insert new parts of their packs."""
    connection = edit.transaction.connection
    own = (runs.c.experiment == edit.experiment, runs.c.state == RunState.FAILED, *meant)
    # Runs that MLflow held in full become incomplete. The others are counted already.
    settled = sa.select(sa.func.count()).where(*own, runs.c.due_since.is_(None))
    edit.pending += connection.execute(settled).scalar_one()
    edit.change(Change.RETRY, *meant, failure=None, end_time=None)
    edit.values["trace"] = traces.context()
    members: dict[str, list[int]] = defaultdict(list)
    for index, pack in failed.items():
        members[pack].append(index)
    if members.pop("", []):
        # A running planner does not know of them. Ending its lease keeps it from saving its plan.
        edit.values |= {"planned": False, "planner": "", "planner_expires": None, "planner_seconds": None}
    for name, indices in sorted(members.items()):
        row = connection.execute(
            sa.select(packs).where(packs.c.experiment == edit.experiment, packs.c.id == name)
        ).one()
        insert_part(edit, row, part_of(name, _next_part(edit, name)), indices)


def _next_part(edit: Edit, name: str) -> int:
    """The number of a pack's next part, not counting parts of its parts."""
    statement = sa.select(packs.c.id).where(
        packs.c.experiment == edit.experiment, packs.c.id.startswith(f"{name}-", autoescape=True)
    )
    parts = edit.transaction.connection.execute(statement).scalars()
    numbers = (int(part.removeprefix(f"{name}-").partition("-")[0]) for part in parts)
    return max(numbers, default=0) + 1
