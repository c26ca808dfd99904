"""Methods on the audit log, for the API."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ipserver.store.interface.base import Transactions
from ipserver.store.records.audit import AuditedCall, AuditRecord
from ipserver.store.records.filters import ALL, Filter
from ipserver.store.transactions import auditing


class Auditing(Transactions):
    """Methods on the audit log, for the API. Entries older than `keep_seconds` are removed by its writes."""

    def begin_call(self, call: AuditedCall, keep_seconds: float) -> int:
        """Write a call down that is about to be made. Returns the entry's id, for `end_call`."""
        return self._watched("audit", auditing.begin, call, keep_seconds)

    def end_call(self, id: int, code: str, resource: str = "") -> None:
        """Write down how a call ended. Repeatable.

        Args:
            id: Of the entry; one that was removed meanwhile stays so.
            code: Name of the gRPC status code.
            resource: The resource concerned, if it became known only now.
        """
        self._watched("audit", auditing.end, id, code, resource)

    def note_refused_call(
        self, call: AuditedCall, code: str, more: Mapping[str, int], keep_seconds: float
    ) -> None:
        """Write a refused call down.

        Args:
            call: The call.
            code: Name of the gRPC status code.
            more: Numbers of calls that were refused before and not written down, by code.
            keep_seconds: How long entries are kept.
        """
        self._watched("audit", auditing.refused, call, code, more, keep_seconds)

    def audit_entries(
        self,
        where: Filter = ALL,
        *,
        limit: int,
        among: Collection[str] | None = None,
        before: int | None = None,
    ) -> list[AuditRecord]:
        """Entries, newest first.

        Args:
            where: Condition on user, method, resource, project, peer, code, time (seconds since 1970).
            limit: Most records.
            among: Only those that concern these projects; None: all.
            before: Id of the last record on the previous page.

        Raises:
            ValueError: A condition on another field.
        """
        return self.database.read(auditing.listing, where, among, limit, before)
