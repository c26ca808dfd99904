"""The audit log. Writing new entries removes old ones, so that no separate job is needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from ipserver import names
from ipserver.store.database import Transaction
from ipserver.store.records.audit import AuditedCall, AuditRecord
from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.filters import Filter
from ipserver.store.records.studies import StudyRecord
from ipserver.store.tables import audit
from ipserver.store.transactions import projects
from ipserver.store.transactions.comparisons import audit_condition

# How often old entries are removed, and how many at once: more than were added, but few enough to be quick.
_EVERY: Final = 16
_FORGOTTEN_AT_ONCE: Final = 400


def add(transaction: Transaction, call: AuditedCall, code: str, keep_seconds: float, calls: int = 1) -> int:
    """Insert an entry and return its id."""
    id = _insert(transaction, call, code=code, calls=calls)
    if id % _EVERY == 0:
        _forget(transaction, keep_seconds)
    return id


def done(
    transaction: Transaction, call: AuditedCall, made: object, keep_seconds: float, entry: int | None
) -> None:
    """Add the entry of a call to the call's transaction.

    Args:
        transaction: The transaction of the call.
        call: The call.
        made: Result of the transaction; names the resource if the call does not.
        keep_seconds: How long entries are kept.
        entry: Id of the existing entry, if any.
    """
    concerned = replace(call, resource=call.resource or _name(made))
    if entry is None:
        add(transaction, concerned, "OK", keep_seconds)
        return
    values = {"code": "OK", "end_time": transaction.now(), "resource": concerned.resource}
    transaction.connection.execute(sa.update(audit).where(audit.c.id == entry).values(**values))


def refused(
    transaction: Transaction,
    call: AuditedCall | None,
    code: str,
    more: Mapping[tuple[str, str], int],
    keep_seconds: float,
) -> None:
    """See `Store.note_refused_call`."""
    for (other, user), calls in sorted(more.items()):
        add(transaction, AuditedCall(user, "", "", "", ""), other, keep_seconds, calls)
    if call is not None:
        add(transaction, call, code, keep_seconds)


def listing(
    transaction: Transaction, where: Filter, among: Collection[str] | None, limit: int, before: int | None
) -> list[AuditRecord]:
    """See `Store.audit_entries`."""
    statement = sa.select(audit).where(audit_condition(where)).order_by(audit.c.id.desc()).limit(limit)
    if among is not None:
        statement = statement.where(audit.c.project.in_(sorted(among)))
    if before is not None:
        statement = statement.where(audit.c.id < before)
    return [AuditRecord(**row._mapping) for row in transaction.connection.execute(statement)]


def _insert(transaction: Transaction, call: AuditedCall, *, code: str, calls: int) -> int:
    now = transaction.now()
    inserted = transaction.connection.execute(
        sa.insert(audit)
        .values(
            time=now,
            end_time=now,
            user=call.user,
            method=call.method,
            resource=call.resource,
            project=call.project or _project_of(transaction, call.resource),
            peer=call.peer,
            code=code,
            calls=calls,
        )
        .returning(audit.c.id)
    )
    return int(inserted.scalar_one())


def _project_of(transaction: Transaction, resource: str) -> str:
    """The project of a resource; "" if there is no such resource."""
    kind, _, rest = resource.partition("/")
    name = rest.partition("/")[0]
    match kind:
        case "experiments":
            found = projects.project_of_experiment(transaction, name)
        case "studies":
            found = projects.project_of_study(transaction, name)
        case "projects":
            found = name if projects.exists(transaction, name) else None
        case _:
            found = None
    return found or ""


def _name(made: object) -> str:
    """The resource name of a transaction's result; "" if it has none."""
    match made:
        case ExperimentRecord(id=id):
            return names.experiment_name(id)
        case StudyRecord(id=id):
            return names.study_name(id)
        case _:
            return ""


def _forget(transaction: Transaction, keep_seconds: float) -> None:
    old = (
        sa.select(audit.c.id)
        .where(audit.c.time < transaction.now() - keep_seconds)
        .order_by(audit.c.time)
        .limit(_FORGOTTEN_AT_ONCE)
    )
    transaction.connection.execute(sa.delete(audit).where(audit.c.id.in_(old)))
