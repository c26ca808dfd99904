"""Refusals of the fake service, with the details that the real one sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

_CODES: Final = {
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "ALREADY_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "REQUEST_ID_REUSED": grpc.StatusCode.ALREADY_EXISTS,
    "ETAG_MISMATCH": grpc.StatusCode.ABORTED,
    "STORE_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "QUOTA_EXCEEDED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "PERMISSION_DENIED": grpc.StatusCode.PERMISSION_DENIED,
    "UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "INTERNAL": grpc.StatusCode.INTERNAL,
    "": grpc.StatusCode.UNIMPLEMENTED,
}
REASONS: Final = tuple(filter(None, _CODES))


class Refused(Exception):
    """A call is refused.

    Args:
        reason: One of `REASONS`; "": the fake does not have it.
        message: One sentence.
        violations: Problems by field.
    """

    def __init__(self, reason: str, message: str, violations: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.violations = dict(violations or {})

    @property
    def code(self) -> grpc.StatusCode:
        """The status code."""
        return _CODES[self.reason]

    def abort(self, context: grpc.ServicerContext) -> None:
        """End the call with this error. Raises."""
        details = (
            [_packed(error_details_pb2.ErrorInfo(reason=self.reason, domain="iplab"))] if self.reason else []
        )
        if self.violations:
            bad = error_details_pb2.BadRequest()
            for field, text in self.violations.items():
                bad.field_violations.add(field=field, description=text)
            details.append(_packed(bad))
        status = status_pb2.Status(code=self.code.value[0], message=str(self), details=details)
        context.abort_with_status(rpc_status.to_status(status))


def not_in_the_fake(what: str) -> Refused:
    """The error for a feature that only a real service has."""
    return Refused(
        "", f"the fake service of iplab.testing has no {what}; try this with a real one (ipserver up)"
    )


def wrong(violations: Mapping[str, str]) -> Refused:
    """The error for wrong fields."""
    text = "; ".join(f"{field}: {message}" for field, message in violations.items())
    return Refused("INVALID_REQUEST", f"{len(violations)} wrong fields: {text}", violations)


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def none_of(kind: str, names: Sequence[str], *, quoted: bool = True) -> str:
    """First words of an error about missing resources, with the first eight names, as in the real service."""
    shown = ", ".join(repr(name) if quoted else name for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"there is no {kind} {shown}" if len(names) == 1 else f"there are no {kind}s {shown}{more}"
