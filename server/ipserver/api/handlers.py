"""Wraps handlers of gRPC methods, for interceptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health

# Start of the paths of the health service.
HEALTH: Final = f"/{health.SERVICE_NAME}/"

Wrap = Callable[[Any], Any]


def rewrapped(
    handler: grpc.RpcMethodHandler[Any, Any], unary: Wrap, streaming: Wrap, *, decode: bool = True
) -> grpc.RpcMethodHandler[Any, Any]:
    """Wrap the method of a handler.

    Args:
        handler: Handler with a unary or streaming response.
        unary: Wraps `async def method(request, context)`.
        streaming: Wraps an asynchronous generator of responses; its request may be a stream too.
        decode: Whether the wrapped method gets messages; otherwise it gets bytes.
    """
    decoder = handler.request_deserializer if decode else None
    if handler.unary_unary is not None:
        return grpc.unary_unary_rpc_method_handler(
            unary(handler.unary_unary), decoder, handler.response_serializer
        )
    if handler.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(
            streaming(handler.unary_stream), decoder, handler.response_serializer
        )
    return grpc.stream_stream_rpc_method_handler(
        streaming(handler.stream_stream), decoder, handler.response_serializer
    )
