"""The table that maps gRPC status to the SDK's errors."""

from __future__ import annotations

import re
from typing import Final

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from iplab.errors import (
    AlreadyExistsError,
    ArtifactDamagedError,
    EtagMismatchError,
    InvalidRequestError,
    IplabError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RequestIdReusedError,
    ServerError,
    TimedOutError,
    TooExpensiveError,
    UnauthenticatedError,
    UnavailableError,
    Violation,
    WatchOverflowError,
)

DOMAIN: Final = "iplab"

# ErrorInfo.reason decides. Without it, as in answers of proxies and of gRPC itself, the status code decides.
_BY_REASON: Final[dict[str, type[IplabError]]] = {
    "INVALID_REQUEST": InvalidRequestError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": AlreadyExistsError,
    "REQUEST_ID_REUSED": RequestIdReusedError,
    "TOO_EXPENSIVE": TooExpensiveError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "QUOTA_EXCEEDED": QuotaExceededError,
    "ETAG_MISMATCH": EtagMismatchError,
    "WATCH_OVERFLOW": WatchOverflowError,
    "ARTIFACT_DAMAGED": ArtifactDamagedError,
    "STORE_UNAVAILABLE": UnavailableError,
    "INTERNAL": ServerError,
}
# Causes of a failed connection that need no further words.
_CAUSES: Final = (
    "Connection refused",
    "Domain name not found",
    "No route to host",
    "Network is unreachable",
)
_BY_CODE: Final[dict[grpc.StatusCode, type[IplabError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooExpensiveError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOutError,
}


def from_call(error: grpc.Call, address: str) -> IplabError:
    """The SDK's error for a failed call.

    Args:
        error: The RpcError that a stub raised, which is also a call.
        address: Address of the service, for the message.
    """
    code, details = error.code(), error.details() or ""
    reason, violations, incident = _unpack(error)
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code, ServerError)
    if kind is InvalidRequestError:
        return InvalidRequestError(violations or [Violation("", details)])
    if kind is UnavailableError and not reason:
        return UnavailableError(
            f"no iplab service answers at {address} ({_cause(details)}); "
            "start one with `ipserver up`, or name another address "
            "(iplab.connect('HOST:PORT'), --address, IPLAB_ADDRESS)"
        )
    if kind is TimedOutError:
        return TimedOutError(f"no answer from {address} within the timeout ({details})")
    if kind is QuotaExceededError:
        return QuotaExceededError(details, *_quota(error))
    if kind is ServerError:
        older = (
            f" The service at {address} is older than this client: restart it with this version of iplab, or "
            "use the client of its version"
        )
        hint = older if code is grpc.StatusCode.UNIMPLEMENTED else ""
        return ServerError(f"{code.name}: {details}{hint}", incident)
    return kind(details)


def _cause(details: str) -> str:
    """The cause among gRPC's words about a connection; all of them if it is another.

    >>> _cause("failed to connect to all addresses; last error: UNKNOWN: ipv4:[::1]:1: Connection refused")
    'Connection refused'
    """
    if "http1.x server" in details:
        return "what listens there answers like a web page, not like gRPC: is it another port?"
    return next((cause for cause in _CAUSES if cause in details), details)


def _quota(error: grpc.Call) -> tuple[str, float | None]:
    """Name of the reached limit, and when a repetition may succeed."""
    limit, seconds = "", None
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        failure, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
        if detail.Unpack(failure) and failure.violations:
            limit = failure.violations[0].description
        elif detail.Unpack(retry):
            seconds = retry.retry_delay.ToMilliseconds() / 1000
    return limit, seconds


def _unpack(error: grpc.Call) -> tuple[str, list[Violation], str]:
    """ErrorInfo's reason, BadRequest's violations, and the incident id; each empty if missing."""
    reason, violations, incident = "", [], ""
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # details that contradict the code come from another program
        status = None
    for detail in status.details if status is not None else ():
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason = info.reason
        elif detail.Unpack(bad_request):
            violations = [Violation(v.field, v.description) for v in bad_request.field_violations]
    if (
        reason == "INTERNAL"
        and not incident
        and (found := re.search(r"\b[0-9a-f]{8,32}\b", error.details() or ""))
    ):
        incident = found[0]
    return reason, violations, incident
