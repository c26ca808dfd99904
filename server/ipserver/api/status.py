"""Maps errors to gRPC status: a table, and the interceptor that applies it to every method."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from iplab.v1 import errors_pb2
from ipserver import errors
from ipserver.api.handlers import HEALTH, rewrapped

_log = logging.getLogger(__name__)
DOMAIN: Final = "iplab"

_Reason = errors_pb2.ErrorReason
# Subclasses come before their base class.
_TABLE: Final[
    tuple[tuple[type[errors.ServiceError], grpc.StatusCode, errors_pb2.ErrorReason.ValueType], ...]
] = (
    (errors.InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT, _Reason.ERROR_REASON_INVALID_REQUEST),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND, _Reason.ERROR_REASON_NOT_FOUND),
    (errors.RequestIdReused, grpc.StatusCode.ALREADY_EXISTS, _Reason.ERROR_REASON_REQUEST_ID_REUSED),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS, _Reason.ERROR_REASON_ALREADY_EXISTS),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED, _Reason.ERROR_REASON_UNAUTHENTICATED),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED, _Reason.ERROR_REASON_PERMISSION_DENIED),
    (errors.QuotaExceeded, grpc.StatusCode.RESOURCE_EXHAUSTED, _Reason.ERROR_REASON_QUOTA_EXCEEDED),
    (errors.TooExpensive, grpc.StatusCode.RESOURCE_EXHAUSTED, _Reason.ERROR_REASON_TOO_EXPENSIVE),
    (errors.EtagMismatch, grpc.StatusCode.ABORTED, _Reason.ERROR_REASON_ETAG_MISMATCH),
    (errors.WatchOverflow, grpc.StatusCode.ABORTED, _Reason.ERROR_REASON_WATCH_OVERFLOW),
    (errors.ArtifactDamaged, grpc.StatusCode.DATA_LOSS, _Reason.ERROR_REASON_ARTIFACT_DAMAGED),
    (errors.StoreUnavailable, grpc.StatusCode.UNAVAILABLE, _Reason.ERROR_REASON_STORE_UNAVAILABLE),
    (errors.ArtifactsUnavailable, grpc.StatusCode.UNAVAILABLE, _Reason.ERROR_REASON_STORE_UNAVAILABLE),
)
# A status is sent in HTTP/2 headers, which many clients bound at 8 KiB, and contains its message twice.
_MESSAGE_BYTES = 600
_DETAIL_BYTES = 3400


def status_code(error: Exception) -> grpc.StatusCode:
    """The code of an error."""
    return next((code for kind, code, _ in _TABLE if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def to_status(error: Exception) -> status_pb2.Status:
    """The rich status of an error. Other errors than ServiceError become INTERNAL: logged, but not sent."""
    for kind, code, reason in _TABLE:
        if isinstance(error, kind):
            return _status(code, reason, error)
    incident = uuid.uuid4().hex[:12]
    _log.error("incident %s: a request failed by a defect", incident, exc_info=error)
    hidden = RuntimeError(f"a defect of the service; its log has the details under incident {incident}")
    return _status(grpc.StatusCode.INTERNAL, _Reason.ERROR_REASON_INTERNAL, hidden)


def _status(
    code: grpc.StatusCode, reason: errors_pb2.ErrorReason.ValueType, error: Exception
) -> status_pb2.Status:
    name = errors_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")
    details = [_packed(error_details_pb2.ErrorInfo(reason=name, domain=DOMAIN))]
    text = str(error)
    if isinstance(error, errors.InvalidRequest):
        details.append(_packed(_bad_request(error)))
        wrong = len(error.violations)
        text = f"{wrong} wrong field{'s' if wrong > 1 else ''}: {text}"
    if isinstance(error, errors.QuotaExceeded):
        details += _quota_details(error)
    if len(encoded := text.encode()) > _MESSAGE_BYTES:
        text = encoded[: _MESSAGE_BYTES - 3].decode(errors="ignore") + "..."
    return status_pb2.Status(code=code.value[0], message=text, details=details)


def _quota_details(error: errors.QuotaExceeded) -> list[any_pb2.Any]:
    failure = error_details_pb2.QuotaFailure()
    failure.violations.add(subject=error.subject, description=error.limit)
    details = [_packed(failure)]
    if error.retry_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(1000 * error.retry_seconds))
        details.append(_packed(retry))
    return details


def _bad_request(error: errors.InvalidRequest) -> error_details_pb2.BadRequest:
    """All violations, or as many as fit into a header and the number of the others."""
    bad = error_details_pb2.BadRequest()
    for i, violation in enumerate(error.violations):
        bad.field_violations.add(field=violation.field[:300], description=violation.message[:600])
        if bad.ByteSize() > _DETAIL_BYTES:
            del bad.field_violations[-1]
            more = len(error.violations) - i
            bad.field_violations.add(field="", description=f"and {more} more; correct these first")
            break
    return bad


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


class ErrorInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Converts exceptions of methods to rich status."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Wrap all methods except those of health, which raise none of our errors."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(HEALTH):
            return handler
        return rewrapped(handler, _unary, _streaming)


def _unary(method: Any) -> Any:
    async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await method(request, context)
        except aio.AbortError:
            raise
        except Exception as error:
            await _abort(context, error)

    return call


def _streaming(method: Any) -> Any:
    async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            async for response in method(request, context):
                yield response
        except aio.AbortError:
            raise
        except Exception as error:
            await _abort(context, error)

    return call


async def _abort(context: aio.ServicerContext[Any, Any], error: Exception) -> None:
    status = rpc_status.to_status(to_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)
