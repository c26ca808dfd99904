"""Observation of calls for metrics and log lines: method, status code and duration.

Log lines of a call have the id in its header `x-request-id`, or else a random id.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc import aio

from ipserver.api.handlers import HEALTH, rewrapped
from ipserver.environment.log_scope import Scope, enter
from ipserver.environment.traces import TRACEPARENT, span

_log = logging.getLogger(__name__)
REQUEST_ID: Final = "x-request-id"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# Status codes of failures of the service rather than of the caller.
_TROUBLE: Final = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS"})
# One label for all methods that do not exist, because callers may send any number of names.
UNKNOWN_METHOD: Final = "unknown"


@dataclass(slots=True)
class Call:
    """A call that has ended.

    Attributes:
        method: "ExperimentService/GetExperiment" of iplab.v1, the full path of other services' methods, or
            "unknown".
        code: Name of its gRPC status ("OK", "NOT_FOUND").
        seconds: Duration; of a stream, until its end.
    """

    method: str
    code: str = "OK"
    seconds: float = 0.0


def method_name(path: str) -> str:
    """A method's name in logs and metrics.

    >>> method_name("/iplab.v1.RunService/GetRun")
    'RunService/GetRun'
    """
    return path.removeprefix("/").removeprefix("iplab.v1.")


class Observe(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """The outermost interceptor: reports every ended call, except health checks, to observers.

    Args:
        observers: Called with every ended call, on the event loop; must neither block nor raise.
        monotonic: Clock, in seconds.
    """

    def __init__(
        self, observers: Sequence[Callable[[Call], None]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._observers = tuple(observers)
        self._monotonic = monotonic

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap all methods except those of health."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if method.startswith(HEALTH):
            return handler
        if not handler:  # there is no such method; the stubs do not declare this case
            self._tell(Call(UNKNOWN_METHOD, "UNIMPLEMENTED"))
            return handler
        name = method_name(method)

        def unary(wrapped: Any) -> Any:
            async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
                with self._observed(name, context):
                    return await wrapped(request, context)

            return call

        def streaming(wrapped: Any) -> Any:
            async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                with self._observed(name, context):
                    async for response in wrapped(request, context):
                        yield response

            return call

        return rewrapped(handler, unary, streaming)

    @contextmanager
    def _observed(self, name: str, context: aio.ServicerContext[Any, Any]) -> Iterator[None]:
        """Context of a call, with its log scope and its span."""
        one, begin = Call(name), self._monotonic()
        enter(Scope(request_id=_given(context, REQUEST_ID, _REQUEST_ID) or secrets.token_hex(8)))
        with span(name, parent=_given(context, TRACEPARENT, _TRACEPARENT)) as recorded:
            try:
                yield
            except BaseException as error:
                one.code = _code(error, context)
                raise
            finally:
                one.seconds = self._monotonic() - begin
                if recorded is not None:
                    recorded.set_attribute("rpc.grpc.status_code", grpc.StatusCode[one.code].value[0])
                self._tell(one)

    def _tell(self, call: Call) -> None:
        for observer in self._observers:
            observer(call)


def _code(error: BaseException, context: aio.ServicerContext[Any, Any]) -> str:
    """Name of the status of a call that raised. A disconnect or an expired deadline cancels a call."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "CANCELLED"
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"


def _given(context: aio.ServicerContext[Any, Any], header: str, form: re.Pattern[str]) -> str:
    """A header of the call; "" if it is missing, repeated or malformed."""
    given = [str(value) for key, value in context.invocation_metadata() or () if key == header]
    return given[0] if len(given) == 1 and form.fullmatch(given[0]) else ""


class AccessLines:
    """An observer that writes a log line for every call.

    Calls that may change something and failures of the service are INFO. Reads and errors of callers are
    DEBUG, because there may be thousands per second.

    Args:
        changing: Names of the methods that need more than the role reader.
    """

    def __init__(self, changing: Collection[str]) -> None:
        self._changing = frozenset(changing)

    def __call__(self, call: Call) -> None:
        """Write the line."""
        told = call.code in _TROUBLE or (call.code == "OK" and call.method in self._changing)
        _log.log(
            logging.INFO if told else logging.DEBUG,
            "%s: %s in %.1f ms",
            call.method,
            call.code,
            1000 * call.seconds,
            extra={"method": call.method, "code": call.code, "seconds": round(call.seconds, 6)},
        )
