"""The gate in front of every method: bounds what a request may hold and how long its answer may take.

Methods get messages that are well formed, of bounded size and without unknown fields. Other requests are
answered INVALID_ARGUMENT here and not logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio

from ipserver.api.handlers import rewrapped
from ipserver.errors import FieldViolation, InvalidRequest, TooExpensive
from ipserver.request.budget import budget_problems

# A specification may list some ten thousand values; everything else names a few things.
MOST_BYTES: Final = 256 * 2**10
MOST_SPEC_BYTES: Final = 2 * 2**20
_WITH_SPEC: Final = ("Create", "Extend", "Update")
# Requests above this are read in a thread, so that the event loop never waits for one.
_LARGE: Final = 16 * 2**10
# No unary method works longer, whatever deadline its caller set.
UNARY_SECONDS: Final = 60.0


class Gate(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Gives methods messages in place of bytes."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap the methods of iplab.v1; others (health, reflection) stay as they are."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/iplab."):
            return handler
        name = handler_call_details.method.rpartition("/")[2]
        most = MOST_SPEC_BYTES if name.startswith(_WITH_SPEC) else MOST_BYTES
        parse = cast(Callable[[bytes], Message], handler.request_deserializer)
        return rewrapped(
            handler,
            lambda method: _unary(method, parse, most),
            lambda method: _streaming(method, parse, most),
            decode=False,
        )


def _unary(method: Any, parse: Callable[[bytes], Message], most: int) -> Any:
    async def call(raw: bytes, context: aio.ServicerContext[Any, Any]) -> Any:
        request = await _read(raw, parse, most)
        try:
            return await asyncio.wait_for(method(request, context), UNARY_SECONDS)
        except TimeoutError:
            raise TooExpensive(
                f"no answer within {UNARY_SECONDS:g} s, the most that one request may take; ask for less, "
                "or again when the service has less to do"
            ) from None

    return call


def _streaming(method: Any, parse: Callable[[bytes], Message], most: int) -> Any:
    async def call(raw: bytes, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        async for response in method(await _read(raw, parse, most), context):
            yield response

    return call


async def _read(raw: bytes, parse: Callable[[bytes], Message], most: int) -> Message:
    if len(raw) > most:
        raise InvalidRequest([FieldViolation("", f"has {len(raw):,} bytes; at most {most:,} are allowed")])
    if len(raw) > _LARGE:
        return await asyncio.to_thread(_parsed, raw, parse)
    return _parsed(raw, parse)


def _parsed(raw: bytes, parse: Callable[[bytes], Message]) -> Message:
    """The message in a request's bytes.

    Raises:
        InvalidRequest: The bytes are no such message, or the message exceeds a bound.
    """
    try:
        request = parse(raw)
    except DecodeError as error:
        raise InvalidRequest([FieldViolation("", f"cannot be decoded: {error}")]) from None
    if problems := budget_problems(request):
        raise InvalidRequest(problems)
    return request
