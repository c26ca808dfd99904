"""Methods on the audit log, for the API and for commands of operators."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from ipserver import failpoints
from ipserver.store.database import Database, Transaction
from ipserver.store.interface.base import Transactions
from ipserver.store.records.audit import AuditedCall, AuditRecord
from ipserver.store.records.filters import ALL, Filter
from ipserver.store.transactions import auditing


class CallEntry:
    """The audit entry of a call, a `Companion` of its writes. Thread-safe.

    The first transaction that the call commits includes the entry, with the code OK. If the call commits
    none, `finish` writes the entry.

    Args:
        database: The database of the store.
        call: The call.
        keep_seconds: How long entries are kept.
    """

    def __init__(self, database: Database, call: AuditedCall, keep_seconds: float) -> None:
        self._database = database
        self._call = call
        self._keep_seconds = keep_seconds
        self._lock = threading.Lock()
        self._committed = False
        self._finished: int | None = None

    @property
    def committed(self) -> bool:
        """Whether a committed transaction included the entry."""
        return self._committed

    @contextmanager
    def writing(self) -> Iterator[Callable[[Transaction, object], None]]:
        """See `Companion`."""
        with self._lock:
            yield self._join
            if not self._committed:
                failpoints.hit("audit.after")
            self._committed = True

    def finish(self, code: str) -> None:
        """Write the entry of a call that has ended without a write.

        Does nothing if a transaction of the call was committed: its entry says OK, whether or not the answer
        reached the caller. A cancelled call may leave a thread that writes later; that transaction changes
        the entry to OK.

        Args:
            code: Name of the gRPC status code.

        Raises:
            StoreUnavailable: The entry was not written.
        """
        with self._lock:
            if self._committed:
                return
            with failpoints.around("audit"):
                write = failpoints.then(auditing.add, "audit.during")
                self._finished = self._database.write(write, self._call, code, self._keep_seconds)

    def _join(self, transaction: Transaction, result: object) -> None:
        if self._committed:
            return
        failpoints.hit("audit.before")
        auditing.done(transaction, self._call, result, self._keep_seconds, self._finished)
        failpoints.hit("audit.during")


class Auditing(Transactions):
    """Methods on the audit log. Entries older than `keep_seconds` are removed by its writes."""

    def entry_of(self, call: AuditedCall, keep_seconds: float) -> CallEntry:
        """The entry of a call that begins, to be passed to `accompanied`."""
        return CallEntry(self.database, call, keep_seconds)

    def note_refused_call(
        self,
        call: AuditedCall | None,
        code: str,
        more: Mapping[tuple[str, str], int],
        keep_seconds: float,
    ) -> None:
        """Write the entry of a refused call.

        Args:
            call: The call; None writes only the counts of `more`.
            code: Name of the gRPC status code.
            more: Number of earlier refused calls without an entry, by code and user.
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
            limit: Maximum number of records.
            among: Only entries that concern these projects; None: all.
            before: Id of the last record on the previous page.

        Raises:
            ValueError: A condition on another field.
        """
        return self.database.read(auditing.listing, where, among, limit, before)
