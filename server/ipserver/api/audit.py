"""AuditService."""
# ruff: noqa: N802 - the methods are named in the proto

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iplab.v1 import audit_service_pb2 as pb
from iplab.v1 import audit_service_pb2_grpc as pb_grpc
from ipserver.api import paging
from ipserver.api.blocking import Blocking
from ipserver.api.caller import caller
from ipserver.api.convert import timestamp
from ipserver.api.filters import AUDIT_FIELDS, parse_filter
from ipserver.api.paging import PageTokens
from ipserver.store.records.accounts import EVERY, Role
from ipserver.store.records.audit import AuditRecord

if TYPE_CHECKING:
    from ipserver.store import Store


class AuditService(pb_grpc.AuditServiceServicer):
    """Lists the entries of the audit log.

    Args:
        store: The store.
        blocking: Thread pool for calls of the store.
        tokens: Page tokens.
    """

    def __init__(self, store: Store, blocking: Blocking, tokens: PageTokens) -> None:
        self._store = store
        self._blocking = blocking
        self._tokens = tokens

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Any
    ) -> pb.ListAuditEntriesResponse:
        """List entries, newest first."""
        size, where = paging.page_size(request.page_size), parse_filter(request.filter, AUDIT_FIELDS)
        own = [project for project, role in caller().roles.items() if role >= Role.ADMIN]
        scope = ("audit", request.filter)
        place = self._tokens.read(request.page_token, *scope)
        records = await self._blocking.run(
            self._store.audit_entries,
            where,
            limit=size + 1,
            among=None if EVERY in own else own,
            before=int(place[0]) if place else None,
        )
        token = self._tokens.make([records[size - 1].id], *scope) if len(records) > size else ""
        entries = [_entry(record) for record in records[:size]]
        return pb.ListAuditEntriesResponse(entries=entries, next_page_token=token)


def _entry(record: AuditRecord) -> pb.AuditEntry:
    return pb.AuditEntry(
        time=timestamp(record.time),
        end_time=timestamp(record.end_time),
        user=record.user,
        method=record.method,
        resource=record.resource,
        project=record.project,
        peer=record.peer,
        code=record.code,
        calls=record.calls,
    )
