"""Every status that a service can send becomes its error of the SDK."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

import iplab
from iplab.connection.status import from_call
from iplab.v1.errors_pb2 import ErrorReason


class FailedCall(grpc.RpcError):
    """The error of a stub, with a status as sent on the wire."""

    def __init__(self, code, details, *, reason="", violations=()):
        self._code, self._details = code, details
        status = status_pb2.Status(code=code.value[0], message=details)
        if reason:
            self._pack(status, error_details_pb2.ErrorInfo(reason=reason, domain="iplab"))
        if violations:
            bad = error_details_pb2.BadRequest()
            for field, description in violations:
                bad.field_violations.add(field=field, description=description)
            self._pack(status, bad)
        self._trailers = (("grpc-status-details-bin", status.SerializeToString()),) if status.details else ()

    @staticmethod
    def _pack(status, detail):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)

    def code(self):
        return self._code

    def details(self):
        return self._details

    def trailing_metadata(self):
        return self._trailers


def mapped(*args, **kwargs):
    return from_call(FailedCall(*args, **kwargs), "host:1")


@pytest.mark.parametrize(
    ("reason", "code", "kind"),
    [
        ("INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT, iplab.InvalidRequestError),
        ("NOT_FOUND", grpc.StatusCode.NOT_FOUND, iplab.NotFoundError),
        ("ALREADY_EXISTS", grpc.StatusCode.ALREADY_EXISTS, iplab.AlreadyExistsError),
        ("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS, iplab.RequestIdReusedError),
        ("WATCH_OVERFLOW", grpc.StatusCode.ABORTED, iplab.WatchOverflowError),
        ("ARTIFACT_DAMAGED", grpc.StatusCode.DATA_LOSS, iplab.ArtifactDamagedError),
        ("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, iplab.UnavailableError),
        ("INTERNAL", grpc.StatusCode.INTERNAL, iplab.ServerError),
    ],
)
def test_each_reason_has_its_error(reason, code, kind):
    error = mapped(code, "what happened", reason=reason)
    assert type(error) is kind
    assert "what happened" in str(error)


def test_no_reason_of_the_proto_is_forgotten():
    sent = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - an enum wrapper, no dict
    for reason in sent:
        mapped_kind = type(mapped(grpc.StatusCode.UNKNOWN, "", reason=reason))
        assert mapped_kind is not iplab.ServerError or reason == "INTERNAL"


def test_violations_come_through():
    wrong = [("experiment.spec.steps", "0 is too small"), ("filter", "cannot be read")]
    error = mapped(
        grpc.StatusCode.INVALID_ARGUMENT, "2 wrong fields", reason="INVALID_REQUEST", violations=wrong
    )
    assert [(v.field, v.message) for v in error.violations] == wrong


def test_a_proxy_without_details_is_understood_by_its_code():
    assert type(mapped(grpc.StatusCode.NOT_FOUND, "no route")) is iplab.NotFoundError
    assert type(mapped(grpc.StatusCode.UNIMPLEMENTED, "unknown method")) is iplab.ServerError
    (violation,) = mapped(grpc.StatusCode.INVALID_ARGUMENT, "bad").violations
    assert (violation.field, violation.message) == ("", "bad")


def test_who_is_not_there_is_told_how_to_start_one():
    text = str(mapped(grpc.StatusCode.UNAVAILABLE, "Connection refused"))
    assert "no iplab service answers at host:1" in text
    assert "`ipserver up`" in text


@pytest.mark.parametrize(
    ("details", "cause"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:1: Connection refused",
            "Connection refused",
        ),
        (
            "errors resolving h:1: [field:lookup failed for h:1: Domain name not found]",
            "Domain name not found",
        ),
        (
            "Failed parsing HTTP/2 (Trying to connect an http1.x server (HTTP status 421))",
            "what listens there answers like a web page, not like gRPC: is it another port?",
        ),
        ("SSL_ERROR_SSL: certificate verify failed", "SSL_ERROR_SSL: certificate verify failed"),
    ],
)
def test_the_cause_is_said_without_grpcs_words_about_it(details, cause):
    text = str(mapped(grpc.StatusCode.UNAVAILABLE, details))
    assert text.startswith(f"no iplab service answers at host:1 ({cause}); start one")


def test_a_service_without_its_store_is_told_apart_from_no_service():
    text = str(mapped(grpc.StatusCode.UNAVAILABLE, "the store is locked", reason="STORE_UNAVAILABLE"))
    assert text == "the store is locked"


def test_the_incident_of_a_defect_is_kept():
    error = mapped(
        grpc.StatusCode.INTERNAL, "a defect; its log has it under incident 0a1b2c3d4e5f", reason="INTERNAL"
    )
    assert error.incident == "0a1b2c3d4e5f"


def test_errors_are_also_pythons_own():
    assert issubclass(iplab.SpecError, ValueError)
    assert issubclass(iplab.NotFoundError, LookupError)
    assert issubclass(iplab.TimedOutError, TimeoutError)
    assert issubclass(iplab.UnavailableError, ConnectionError)


def test_a_call_that_an_older_service_lacks_is_said_to_be_so():
    error = mapped(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    assert isinstance(error, iplab.ServerError)
    assert "Method not found! The service at host:1 is older than this client: restart it" in str(error)
