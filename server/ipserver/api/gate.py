"""The gate in front of every method: bounds the size of a request and the time of its answer.

Methods get well-formed messages of bounded size without unknown fields. Other requests are answered
INVALID_ARGUMENT here and not logged. For health and reflection only form and size are checked, because newer
clients may send fields that this version does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from ipserver.api.handlers import HEALTH, rewrapped
from ipserver.errors import FieldViolation, InvalidRequest, TooExpensive
from ipserver.request.budget import budget_problems

# A spec may list some ten thousand values; other requests are short.
MOST_BYTES: Final = 256 * 2**10
MOST_SPEC_BYTES: Final = 2 * 2**20
# Requests of health and reflection hold one name.
_MOST_NAME_BYTES: Final = 4 * 2**10
_WITH_SPEC: Final = ("Create", "Extend", "Update")
# Requests above this size are decoded in a thread, so that they do not block the event loop.
_LARGE: Final = 16 * 2**10
# Deadline of all unary methods, whatever deadline the caller sets.
UNARY_SECONDS: Final = 60.0

Continuation = Callable[[grpc.HandlerCallDetails], "Awaitable[grpc.RpcMethodHandler[Any, Any]]"]


async def _uncounted() -> None: ...


class Gate(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Decodes and checks requests, so that methods get messages instead of bytes.

    Args:
        count: Counts a request for the limits of its caller; raises RateExceeded. Called for requests that no
            later interceptor counts: refused ones, before the refusal is answered, and those of reflection.
    """

    def __init__(self, count: Callable[[], Awaitable[None]] = _uncounted) -> None:
        self._count = count

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap all methods."""
        handler = await continuation(handler_call_details)
        if not handler:  # there is no such method; the stubs do not declare this case
            return handler
        parse = cast(Callable[[bytes], Message], handler.request_deserializer)
        if not handler_call_details.method.startswith("/iplab."):

            def checked(method: Any) -> Any:
                if handler_call_details.method.startswith(HEALTH):
                    return _health(method, parse)
                return _reflection(method, parse, self._count)

            return rewrapped(handler, checked, checked, decode=False)
        name = handler_call_details.method.rpartition("/")[2]
        most = MOST_SPEC_BYTES if name.startswith(_WITH_SPEC) else MOST_BYTES

        async def read(raw: bytes) -> Message:
            try:
                return await _read(raw, parse, most)
            except InvalidRequest:
                await self._count()
                raise

        return rewrapped(
            handler,
            lambda method: _unary(method, read),
            lambda method: _streaming(method, read),
            decode=False,
        )


def _unary(method: Any, read: Callable[[bytes], Awaitable[Message]]) -> Any:
    async def call(raw: bytes, context: aio.ServicerContext[Any, Any]) -> Any:
        request = await read(raw)
        try:
            return await asyncio.wait_for(method(request, context), UNARY_SECONDS)
        except TimeoutError:
            raise TooExpensive(
                f"no answer within {UNARY_SECONDS:g} s, the longest that a request may take; ask for less, "
                "or again when the service is less busy"
            ) from None

    return call


def _streaming(method: Any, read: Callable[[bytes], Awaitable[Message]]) -> Any:
    async def call(raw: bytes, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        async for response in method(await read(raw), context):
            yield response

    return call


def _health(method: Any, parse: Callable[[bytes], Message]) -> Any:
    """Wrap a health method: its watch is not a generator, and no other interceptor converts its errors."""

    async def call(raw: bytes, context: aio.ServicerContext[Any, Any]) -> Any:
        try:
            request = _decoded(raw, parse, _MOST_NAME_BYTES)
        except InvalidRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return await method(request, context)

    return call


def _reflection(method: Any, parse: Callable[[bytes], Message], count: Callable[[], Awaitable[None]]) -> Any:
    async def requests(raws: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for raw in raws:
            await count()
            yield _decoded(raw, parse, _MOST_NAME_BYTES)

    async def call(raws: AsyncIterator[bytes], context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        async for response in method(requests(raws), context):
            yield response

    return call


async def _read(raw: bytes, parse: Callable[[bytes], Message], most: int) -> Message:
    if _LARGE < len(raw) <= most:
        return await asyncio.to_thread(_parsed, raw, parse, most)
    return _parsed(raw, parse, most)


def _parsed(raw: bytes, parse: Callable[[bytes], Message], most: int) -> Message:
    """Decode a request. Raises InvalidRequest as `_decoded`, or if a field breaks a bound."""
    request = _decoded(raw, parse, most)
    if problems := budget_problems(request):
        raise InvalidRequest(problems)
    return request


def _decoded(raw: bytes, parse: Callable[[bytes], Message], most: int) -> Message:
    """Decode a request. Raises InvalidRequest if it is too large or malformed."""
    if len(raw) > most:
        raise InvalidRequest([FieldViolation("", f"has {len(raw):,} bytes; at most {most:,} are allowed")])
    try:
        return parse(raw)
    except DecodeError as error:
        raise InvalidRequest([FieldViolation("", f"cannot be decoded: {error}")]) from None
