"""Calls of the API as its operator sees them: which method, how it ended, how long it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc import aio

from ipserver.api.handlers import HEALTH, rewrapped

# In place of the name of a method that does not exist: callers choose names, and there is no end of them.
UNKNOWN_METHOD: Final = "unknown"


@dataclass(slots=True)
class Call:
    """A call that has ended.

    Attributes:
        method: "ExperimentService/GetExperiment" of iplab.v1, the full path of other services' methods, or
            "unknown".
        code: Name of its gRPC status ("OK", "NOT_FOUND").
        seconds: How long it took; a stream, until its end.
    """

    method: str
    code: str = "OK"
    seconds: float = 0.0


class Observe(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Tells observers of every call that has ended, apart from health checks. Stands outside all others.

    Args:
        observers: Called with every call, on the event loop; they must not block, or raise.
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
        """Wrap all methods but those of health."""
        method = handler_call_details.method
        if method.startswith(HEALTH) or not self._observers:
            return await continuation(handler_call_details)
        handler = await continuation(handler_call_details)
        if not handler:  # there is no such method, which the stubs do not know
            self._tell(Call(UNKNOWN_METHOD, "UNIMPLEMENTED"))
            return handler
        name = method.removeprefix("/").removeprefix("iplab.v1.")

        def unary(wrapped: Any) -> Any:
            async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
                one, begin = Call(name), self._monotonic()
                try:
                    return await wrapped(request, context)
                except BaseException as error:
                    one.code = _code(error, context)
                    raise
                finally:
                    one.seconds = self._monotonic() - begin
                    self._tell(one)

            return call

        def streaming(wrapped: Any) -> Any:
            async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                one, begin = Call(name), self._monotonic()
                try:
                    async for response in wrapped(request, context):
                        yield response
                except BaseException as error:
                    one.code = _code(error, context)
                    raise
                finally:
                    one.seconds = self._monotonic() - begin
                    self._tell(one)

            return call

        return rewrapped(handler, unary, streaming)

    def _tell(self, call: Call) -> None:
        for observer in self._observers:
            observer(call)


def _code(error: BaseException, context: aio.ServicerContext[Any, Any]) -> str:
    """How a call ended that raised: a caller who leaves, or whose deadline passes, cancels it."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "CANCELLED"
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
