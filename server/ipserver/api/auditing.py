"""Writes the audit log: calls that may change something, and refused calls.

The entry of a call that needs more than the role reader is written in the transaction of its change, so it
exists if and only if the change does. A call that ends without a change gets an entry of its own transaction.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message
from grpc import aio

from ipserver import names
from ipserver.api.access import Continuation, Rule, field_at
from ipserver.api.blocking import Blocking
from ipserver.api.buckets import TokenBuckets
from ipserver.api.caller import user_if_known
from ipserver.api.handlers import HEALTH, rewrapped
from ipserver.api.status import status_code
from ipserver.errors import Concealed, PermissionDenied, RateExceeded, StoreUnavailable, Unauthenticated
from ipserver.store.companion import accompanied
from ipserver.store.records.accounts import Role
from ipserver.store.records.audit import AuditedCall

if TYPE_CHECKING:
    from ipserver.store import Store
    from ipserver.store.interface.auditing import CallEntry

_log = logging.getLogger(__name__)
# Token bucket for separate entries of refused calls: anyone can cause refusals, so their number must not
# decide how much is written. Refusals beyond it are only counted.
_BURST: Final = 60.0
_PER_SECOND: Final = 1.0
# Counts are written after at most this time.
_COUNTS_SECONDS: Final = 10.0
_LONGEST_RESOURCE: Final = 200
Refusal = Unauthenticated | PermissionDenied | Concealed | RateExceeded
_REFUSALS: Final = (Unauthenticated, PermissionDenied, Concealed, RateExceeded)


class AuditLog:
    """Writes entries of the audit log.

    Args:
        store: The store.
        blocking: Thread pool for calls of the store.
        keep_seconds: How long entries are kept.
        monotonic: Clock, in seconds.
        counts_seconds: Interval at which counts are written.
    """

    def __init__(
        self,
        store: Store,
        blocking: Blocking,
        keep_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        counts_seconds: float = _COUNTS_SECONDS,
    ) -> None:
        self._store = store
        self._blocking = blocking
        self._keep_seconds = keep_seconds
        self._counts_seconds = counts_seconds
        self._buckets = TokenBuckets[str](monotonic=monotonic)
        # Number of calls without an entry, by status code and user.
        self._counted: Counter[tuple[str, str]] = Counter()
        self._counting: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def following(self, call: AuditedCall) -> AsyncIterator[None]:
        """Context of a call: its entry is written in the same transaction as its changes."""
        entry, code = self._store.entry_of(call, self._keep_seconds), grpc.StatusCode.OK
        try:
            with accompanied(entry):
                yield
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:
            code = status_code(error)
            raise
        finally:
            if not entry.committed:
                await asyncio.shield(asyncio.ensure_future(self._finish(entry, call, code.name)))

    async def refused(self, call: AuditedCall, error: Refusal) -> None:
        """Write an entry for a refused call, or only count it if its status code is too frequent."""
        code = status_code(error).name
        if not self._may_write(code):
            self._count(code, call.user)
            return
        more, self._counted = self._counted, Counter()
        try:
            await self._blocking.run(self._store.note_refused_call, call, code, more, self._keep_seconds)
        except StoreUnavailable as failed:
            self._counted += more
            self._count(code, call.user)
            _log.warning("a refused call to %s is only counted in the audit log: %s", call.method, failed)

    async def close(self) -> None:
        """Write the outstanding counts."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait({self._counting})
        await self._write_counts()

    async def _finish(self, entry: CallEntry, call: AuditedCall, code: str) -> None:
        try:
            await self._blocking.run(entry.finish, code)
        except StoreUnavailable as failed:
            self._count(code, call.user)
            _log.warning("a call to %s (%s) is only counted in the audit log: %s", call.method, code, failed)

    def _may_write(self, code: str) -> bool:
        return self._buckets.take(code, _PER_SECOND, _BURST) == 0.0

    def _count(self, code: str, user: str) -> None:
        self._counted[code, user] += 1
        if self._counting is None or self._counting.done():
            self._counting = asyncio.ensure_future(self._write_later())

    async def _write_later(self) -> None:
        while self._counted:
            await asyncio.sleep(self._counts_seconds)
            await self._write_counts()

    async def _write_counts(self) -> None:
        if not self._counted:
            return
        counted, self._counted = self._counted, Counter()
        try:
            await self._blocking.run(self._store.note_refused_call, None, "", counted, self._keep_seconds)
        except StoreUnavailable as failed:
            self._counted += counted
            _log.warning("%d calls are not in the audit log yet: %s", counted.total(), failed)


class AuditRefused(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Writes entries for calls that `Authenticate` and `Authorize` refuse, except health checks.

    This includes calls above the limit of requests per second.

    Args:
        log: The audit log.
    """

    def __init__(self, log: AuditLog) -> None:
        self._audit = log

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the method."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None or path.startswith(HEALTH):
            return handler

        async def note(error: Refusal, context: aio.ServicerContext[Any, Any]) -> None:
            await self._audit.refused(_refused_call(path, error, context), error)

        def unary(method: Any) -> Any:
            async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
                try:
                    return await method(request, context)
                except _REFUSALS as error:
                    await note(error, context)
                    raise

            return call

        def streaming(method: Any) -> Any:
            async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                try:
                    async for response in method(request, context):
                        yield response
                except _REFUSALS as error:
                    await note(error, context)
                    raise

            return call

        return rewrapped(handler, unary, streaming)


class AuditChanges(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Writes entries for calls that `Authorize` has allowed and that may change something.

    Args:
        log: The audit log.
        rules: Rules of all methods, by path.
    """

    def __init__(self, log: AuditLog, rules: Mapping[str, Rule]) -> None:
        self._audit = log
        self._rules = rules

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the methods that need more than the role reader."""
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        rule = self._rules.get(path)
        if handler is None or rule is None or rule.role is Role.READER:
            return handler

        def unary(method: Any) -> Any:
            async def call(request: Message, context: aio.ServicerContext[Any, Any]) -> Any:
                if getattr(request, "validate_only", False):
                    return await method(request, context)
                async with self._audit.following(_call(path, rule, request, context)):
                    return await method(request, context)

            return call

        def streaming(method: Any) -> Any:
            async def call(request: Message, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                async with self._audit.following(_call(path, rule, request, context)):
                    async for response in method(request, context):
                        yield response

            return call

        return rewrapped(handler, unary, streaming)


def _call(path: str, rule: Rule, request: Message, context: aio.ServicerContext[Any, Any]) -> AuditedCall:
    """The entry of a call that begins."""
    resource = str(field_at(request, rule.resource)) if rule.resource else ""
    if asked := getattr(request, "experiment_id", ""):
        resource = names.experiment_name(asked)
    if asked := getattr(request, "study_id", ""):
        resource = names.study_name(asked)
    project = str(field_at(request, rule.project)) if rule.project else ""
    return _shown(path, user_if_known(), resource, project, context)


def _refused_call(path: str, error: Refusal, context: aio.ServicerContext[Any, Any]) -> AuditedCall:
    """The entry of a refused call."""
    if isinstance(error, Unauthenticated):
        return _shown(path, error.user, "", "", context)
    if isinstance(error, RateExceeded):
        return _shown(path, user_if_known(), "", error.project, context)
    project = error.project if isinstance(error, PermissionDenied) else ""
    return _shown(path, user_if_known(), error.resource, project, context)


def _shown(
    path: str, user: str, resource: str, project: str, context: aio.ServicerContext[Any, Any]
) -> AuditedCall:
    method = path.removeprefix("/")
    return AuditedCall(user, method, resource[:_LONGEST_RESOURCE], project, peer_host(context.peer() or ""))


def peer_host(peer: str) -> str:
    """The IP address of a peer, as gRPC writes it, without the port; "unix" for a socket file.

    >>> peer_host("ipv4:10.0.0.7:51112"), peer_host("ipv6:%5B::1%5D:51112"), peer_host("unix:")
    ('10.0.0.7', '::1', 'unix')
    """
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else kind
