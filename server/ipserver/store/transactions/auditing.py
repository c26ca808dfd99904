"""The audit log. Entries that are too old are removed as new ones are written, so no other part need run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.records.audit import AuditedCall, AuditRecord
from ipserver.store.records.filters import Filter
from ipserver.store.tables import audit
from ipserver.store.transactions import projects
from ipserver.store.transactions.comparisons import audit_condition

# Old entries removed by one write: more than it adds, and few enough not to hold it up.
_FORGOTTEN_AT_ONCE: Final = 100


def begin(transaction: Transaction, call: AuditedCall, keep_seconds: float) -> int:
    """See `Store.begin_call`."""
    _forget(transaction, keep_seconds)
    return _insert(transaction, call, code="", calls=1)


def end(transaction: Transaction, id: int, code: str, resource: str) -> None:
    """See `Store.end_call`."""
    values = {"code": code, "end_time": transaction.now()} | ({"resource": resource} if resource else {})
    transaction.connection.execute(sa.update(audit).where(audit.c.id == id).values(**values))


def refused(
    transaction: Transaction, call: AuditedCall, code: str, more: Mapping[str, int], keep_seconds: float
) -> None:
    """See `Store.note_refused_call`."""
    _forget(transaction, keep_seconds)
    for other, calls in sorted(more.items()):
        _insert(transaction, AuditedCall("", "", "", "", ""), code=other, calls=calls)
    _insert(transaction, call, code=code, calls=1)


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
            end_time=now if code else None,
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
    """The project of a resource; "": there is none of that name."""
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


def _forget(transaction: Transaction, keep_seconds: float) -> None:
    old = (
        sa.select(audit.c.id)
        .where(audit.c.time < transaction.now() - keep_seconds)
        .order_by(audit.c.time)
        .limit(_FORGOTTEN_AT_ONCE)
    )
    transaction.connection.execute(sa.delete(audit).where(audit.c.id.in_(old)))
