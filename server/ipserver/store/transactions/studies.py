"""Studies, and the leases of the dispatchers that drive them.

A driver holds a study under a fencing token, as a dispatcher holds a pack. It records a round with all its
actions before it takes any of them. Each action has a request id of its own, so that the next driver can
repeat the actions after a crash without creating anything twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.studies import NewStudy, RoundRecord, StudyOutcome, StudyRecord
from ipserver.store.states import RunState, StudyState
from ipserver.store.tables import experiments, studies, study_rounds
from ipserver.store.transactions import clocks, quotas
from ipserver.store.transactions.missing import no_study
from ipserver.store.transactions.projects import lock
from ipserver.store.transactions.taken import repeats, require_free


def create(transaction: Transaction, new: NewStudy) -> StudyRecord:
    """See `Store.create_study`."""
    connection = transaction.connection
    if new.request_id and (first := find_request(transaction, new.request_id, new.request_hash)):
        return first
    lock(transaction, new.project, "study.project")
    quotas.check(transaction, new.project, new.owned_by, {"priority": new.priority})
    require_free(transaction, studies, new.id)
    connection.execute(
        sa.insert(studies).values(
            **{**asdict(new), "request_id": new.request_id or None, "warnings": list(new.warnings)},
            state=StudyState.RUNNING,
            cancel_requested=False,
            seq=1,
            outcome={},
            token=0,
            owner="",
            create_time=transaction.now(),
        )
    )
    return get(transaction, new.id)


def find_request(transaction: Transaction, request_id: str, request_hash: str) -> StudyRecord | None:
    """See `Store.find_study_request`."""
    row = transaction.connection.execute(
        sa.select(studies.c.id, studies.c.request_hash).where(studies.c.request_id == request_id)
    ).one_or_none()
    return get(transaction, row.id) if repeats(row, request_id, request_hash) else None


def get(transaction: Transaction, study: str) -> StudyRecord:
    """See `Store.get_study`."""
    found = _records(
        transaction, transaction.connection.execute(sa.select(studies).where(studies.c.id == study))
    )
    if not found:
        raise no_study(transaction, study)
    return found[0]


def listing(
    transaction: Transaction,
    limit: int,
    before: tuple[float, str] | None,
    projects: Collection[str] | None = None,
    *,
    show_deleted: bool = False,
) -> list[StudyRecord]:
    """See `Store.list_studies`."""
    newest = (studies.c.create_time, studies.c.id)
    statement = sa.select(studies).order_by(*(column.desc() for column in newest)).limit(limit)
    if not show_deleted:
        statement = statement.where(studies.c.delete_time.is_(None))
    if projects is not None:
        statement = statement.where(studies.c.project.in_(projects))
    if before is not None:
        time, name = before
        statement = statement.where(
            sa.tuple_(*newest) < sa.tuple_(sa.literal(time, sa.Double()), sa.literal(name))
        )
    return _records(transaction, transaction.connection.execute(statement))


def cancel(transaction: Transaction, study: str) -> StudyRecord:
    """See `Store.cancel_study`."""
    row = locked(transaction, study)
    if row.end_time is None and not row.cancel_requested:
        change(transaction, row, cancel_requested=True, state=StudyState.CANCELLING)
    return get(transaction, study)


def unfinished(transaction: Transaction) -> bool:
    """Whether a study has not ended."""
    return bool(transaction.connection.execute(sa.select(sa.exists().where(_UNFINISHED))).scalar_one())


def abandoned(transaction: Transaction, seconds: float) -> list[str]:
    """See `Store.abandoned_studies`."""
    before = transaction.now() - seconds
    statement = sa.select(studies.c.id).where(
        _UNFINISHED, sa.func.coalesce(studies.c.expires, studies.c.create_time) < before
    )
    return list(transaction.connection.execute(statement.order_by(studies.c.id)).scalars())


def lease(transaction: Transaction, owner: str, ttl: float) -> list[StudyRecord]:
    """See `Store.lease_studies`."""
    now = transaction.now()
    free = sa.or_(studies.c.expires.is_(None), clocks.over(studies.c.expires, studies.c.lease_seconds, now))
    rows = transaction.connection.execute(
        sa.select(studies)
        .where(_UNFINISHED, sa.or_(studies.c.owner == owner, free))
        .order_by(studies.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        transaction.connection.execute(
            sa.update(studies)
            .where(studies.c.id == row.id)
            .values(owner=owner, token=row.token + (row.owner != owner), expires=now + ttl, lease_seconds=ttl)
        )
    ids = [row.id for row in rows]
    again = sa.select(studies).where(studies.c.id.in_(ids)).order_by(studies.c.id)
    return _records(transaction, transaction.connection.execute(again)) if ids else []


def locked(transaction: Transaction, study: str) -> sa.Row[Any]:
    """Lock a study's row. Raises NotFound."""
    row = transaction.connection.execute(
        sa.select(studies).where(studies.c.id == study).with_for_update()
    ).one_or_none()
    if row is None:
        raise no_study(transaction, study)
    return row


def change(transaction: Transaction, row: sa.Row[Any], **values: object) -> None:
    """Set columns of a study's locked row."""
    transaction.connection.execute(
        sa.update(studies).where(studies.c.id == row.id).values(seq=row.seq + 1, **values)
    )


def _records(transaction: Transaction, rows: sa.CursorResult[Any]) -> list[StudyRecord]:
    found = rows.all()
    ids = [row.id for row in found]
    rounds: dict[str, list[RoundRecord]] = {name: [] for name in ids}
    statement = sa.select(study_rounds).where(study_rounds.c.study.in_(ids))
    for row in transaction.connection.execute(
        statement.order_by(study_rounds.c.study, study_rounds.c.number)
    ):
        rounds[row.study].append(
            RoundRecord(
                number=row.number,
                why=row.why,
                actions=tuple(row.actions),
                runs=row.runs,
                done=row.done,
                learned=tuple(row.learned),
                create_time=row.create_time,
                end_time=row.end_time,
            )
        )
    now = transaction.now()
    return [_record(transaction, row, tuple(rounds[row.id]), now) for row in found]


def _record(
    transaction: Transaction, row: sa.Row[Any], rounds: Sequence[RoundRecord], now: float
) -> StudyRecord:
    outcome = StudyOutcome(**{**row.outcome, "answers": tuple(row.outcome.get("answers", ()))})
    record = StudyRecord(
        id=row.id,
        uid=row.uid,
        project=row.project,
        owned_by=row.owned_by,
        notes=row.notes,
        delete_time=row.delete_time,
        purge_time=row.purge_time,
        display_name=row.display_name,
        labels=row.labels,
        priority=row.priority,
        spec=row.spec,
        warnings=tuple(row.warnings),
        state=row.state,
        cancel_requested=row.cancel_requested,
        sequence=row.seq,
        outcome=outcome,
        rounds=tuple(rounds),
        token=row.token,
        create_time=row.create_time,
        end_time=row.end_time,
        now=now,
        ended_runs=0,
    )
    return replace(record, ended_runs=_ended(transaction, record.experiments))


def _ended(transaction: Transaction, ids: Sequence[str]) -> int:
    """Number of runs of these experiments that have ended."""
    if not ids:
        return 0
    ended = sum(
        (experiments.c[state.value.lower()] for state in RunState if state.terminal), start=sa.literal(0)
    )
    statement = sa.select(sa.func.coalesce(sa.func.sum(ended), 0)).where(experiments.c.id.in_(ids))
    return int(transaction.connection.execute(statement).scalar_one())


_UNFINISHED = studies.c.end_time.is_(None)
