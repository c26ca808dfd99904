"""Writes calls into the audit log: those that may change something, and those that are refused.

A call that needs more than the role reader is written down before it is made, and its result afterwards: a
process that is killed in between leaves an entry without a result, never a change without an entry.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import grpc
from google.protobuf.message import Message
from grpc import aio

from ipserver import names
from ipserver.api.access import Continuation, Rule, field_at
from ipserver.api.blocking import Blocking
from ipserver.api.caller import user_if_known
from ipserver.api.handlers import HEALTH, rewrapped
from ipserver.api.status import status_code
from ipserver.errors import Concealed, PermissionDenied, StoreUnavailable, Unauthenticated
from ipserver.store.records.accounts import Role
from ipserver.store.records.audit import AuditedCall

if TYPE_CHECKING:
    from ipserver.store import Store

_log = logging.getLogger(__name__)
# Refused calls with an entry of their own: so many at once, and so many per second. Anyone can be refused, so
# their number must not decide how much is written.
_BURST: Final = 60.0
_PER_SECOND: Final = 1.0
_LONGEST_RESOURCE: Final = 200
Refusal = Unauthenticated | PermissionDenied | Concealed
_REFUSALS: Final = (Unauthenticated, PermissionDenied, Concealed)


@dataclass(slots=True)
class Followed:
    """A call that is being made.

    Attributes:
        resource: Name of the resource concerned, if it becomes known.
    """

    resource: str = ""


class AuditLog:
    """Writes entries.

    Args:
        store: Where they are kept.
        blocking: Pool for its calls.
        keep_seconds: How long they are kept.
        monotonic: Clock, in seconds.
    """

    def __init__(
        self,
        store: Store,
        blocking: Blocking,
        keep_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._blocking = blocking
        self._keep_seconds = keep_seconds
        self._monotonic = monotonic
        self._left, self._then = _BURST, monotonic()
        self._unwritten: Counter[str] = Counter()

    @asynccontextmanager
    async def following(self, call: AuditedCall) -> AsyncIterator[Followed]:
        """Write a call down, make it in the block, and write its result down.

        Raises:
            StoreUnavailable: It cannot be written down, and is not made.
        """
        entry = await self._blocking.run(self._store.begin_call, call, self._keep_seconds)
        followed, code = Followed(), grpc.StatusCode.OK
        try:
            yield followed
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as error:
            code = status_code(error)
            raise
        finally:
            ending = asyncio.ensure_future(self._end(entry, code.name, followed.resource))
            await asyncio.shield(ending)

    async def refused(self, call: AuditedCall, error: Refusal) -> None:
        """Write a refused call down, or count it if there are too many."""
        code, now = status_code(error).name, self._monotonic()
        self._left = min(_BURST, self._left + _PER_SECOND * (now - self._then))
        self._then = now
        if self._left < 1.0:
            self._unwritten[code] += 1
            return
        self._left -= 1.0
        more, self._unwritten = self._unwritten, Counter()
        try:
            await self._blocking.run(self._store.note_refused_call, call, code, more, self._keep_seconds)
        except StoreUnavailable as failed:
            self._unwritten += more + Counter([code])
            _log.warning("a refused call to %s is not in the audit log yet: %s", call.method, failed)

    async def _end(self, entry: int, code: str, resource: str) -> None:
        try:
            await self._blocking.run(self._store.end_call, entry, code, resource)
        except StoreUnavailable as failed:
            _log.warning("the audit log lacks the result %s of entry %d: %s", code, entry, failed)


class AuditRefused(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Writes down what `Authenticate` and `Authorize` refuse, of all methods but health's.

    Args:
        log: Where to.
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
    """Writes down the calls that `Authorize` has let through and that may change something.

    Args:
        log: Where to.
        rules: Of all methods, by path.
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
                async with self._audit.following(_call(path, rule, request, context)) as followed:
                    answer = await method(request, context)
                    # What a call made has a name only now.
                    followed.resource = getattr(answer, "name", "")
                    return answer

            return call

        def streaming(method: Any) -> Any:
            async def call(request: Message, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                async with self._audit.following(_call(path, rule, request, context)):
                    async for response in method(request, context):
                        yield response

            return call

        return rewrapped(handler, unary, streaming)


def _call(path: str, rule: Rule, request: Message, context: aio.ServicerContext[Any, Any]) -> AuditedCall:
    """What is known of a call when it begins."""
    resource = str(field_at(request, rule.resource)) if rule.resource else ""
    if asked := getattr(request, "experiment_id", ""):
        resource = names.experiment_name(asked)
    if asked := getattr(request, "study_id", ""):
        resource = names.study_name(asked)
    project = str(field_at(request, rule.project)) if rule.project else ""
    return _shown(path, user_if_known(), resource, project, context)


def _refused_call(path: str, error: Refusal, context: aio.ServicerContext[Any, Any]) -> AuditedCall:
    """What is known of a call that was refused."""
    if isinstance(error, Unauthenticated):
        return _shown(path, error.user, "", "", context)
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
