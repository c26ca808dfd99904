"""The channel to a service: calls with a deadline, retries, and the SDK's errors."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar, cast

import grpc

from iplab.connection import proxies
from iplab.connection.status import from_call
from iplab.connection.tracing import call_span, context_metadata
from iplab.errors import (
    InvalidRequestError,
    IplabError,
    QuotaExceededError,
    TimedOutError,
    UnavailableError,
    Violation,
)
from iplab.v1.audit_service_pb2_grpc import AuditServiceStub
from iplab.v1.catalog_service_pb2_grpc import CatalogServiceStub
from iplab.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from iplab.v1.parameterization_service_pb2_grpc import ParameterizationServiceStub
from iplab.v1.quota_service_pb2_grpc import QuotaServiceStub
from iplab.v1.report_service_pb2_grpc import ReportServiceStub
from iplab.v1.run_service_pb2_grpc import RunServiceStub
from iplab.v1.study_service_pb2_grpc import StudyServiceStub

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Value = TypeVar("Value")
Metadata = tuple[tuple[str, str], ...]

# The service permits a ping every 10 s without data; idle watches pass firewalls that forget after a minute.
_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
# A restart of the service on one machine is over within these delays; more patience is the caller's choice.
RETRY_DELAYS: Final = (0.1, 0.2, 0.4, 0.8, 1.5)
# Requests that came too fast are sent again, if that may help within this time.
_PACE: Final = "requests_per_second"
_LONGEST_PACE: Final = 5.0
_HOST_AND_PORT: Final = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\]):(?P<port>[0-9]{1,5})", re.ASCII)
_OTHER_NAME: Final = re.compile(r"(?:unix|unix-abstract|dns|ipv4|ipv6|vsock|xds):\S*[^\s0-9:]\S*", re.ASCII)


def check_address(address: str) -> None:
    """Refuse an address that gRPC would misread: without a port it takes 443, for 65537 it takes 1.

    Raises:
        InvalidRequestError: Neither "host:port" nor a name with a scheme of gRPC's.

    >>> check_address("[::1]:50051")
    """
    found = _HOST_AND_PORT.fullmatch(address)
    if found and 1 <= int(found["port"]) <= 65_535:
        return
    if not found and _OTHER_NAME.fullmatch(address):
        return
    message = f"{address!r} is not an address; write HOST:PORT with a port in 1 .. 65535, as 127.0.0.1:50051"
    raise InvalidRequestError([Violation("address", message)])


class Transport:
    """One channel, shared by all handles of a client. Thread-safe.

    Args:
        address: "host:port".
        timeout: Seconds that a call with one answer may take, all its retries included.
        metadata: Sent with every call.
        credentials: For TLS; None: unencrypted.
        token: Returns the bearer token of the next call; "": none.

    Attributes:
        address: "host:port".
        timeout: Seconds that a call with one answer may take, all its retries included.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        metadata: Sequence[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        token: Callable[[], str] = str,
    ) -> None:
        self.address = address
        self.timeout = timeout
        self._own_metadata: Metadata = tuple(metadata)
        self._token = token
        # Nothing but this machine itself reaches its loopback, so no proxy does either.
        direct = [("grpc.enable_http_proxy", 0)] if proxies.is_local(address) else []
        options = [*_OPTIONS, *direct]
        self._channel = (
            grpc.insecure_channel(address, options=options)
            if credentials is None
            else grpc.secure_channel(address, credentials, options=options)
        )
        self.experiments = ExperimentServiceStub(self._channel)
        self.runs = RunServiceStub(self._channel)
        self.catalog = CatalogServiceStub(self._channel)
        self.parameterizations = ParameterizationServiceStub(self._channel)
        self.quotas = QuotaServiceStub(self._channel)
        self.audit = AuditServiceStub(self._channel)
        self.reports = ReportServiceStub(self._channel)
        self.studies = StudyServiceStub(self._channel)

    def _metadata(self) -> Metadata:
        token = self._token()
        own = (*self._own_metadata, *context_metadata())
        return (*own, ("authorization", f"Bearer {token}")) if token else own

    def close(self) -> None:
        """Close the channel; running calls end with an error."""
        self._channel.close()

    def call(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Answer], request: Request, *, repeat: bool = True
    ) -> Answer:
        """One request, one answer; tried again while the service is unavailable.

        Args:
            method: Of one of the stubs.
            request: Its message.
            repeat: Whether it may be sent twice, as a read or a cancellation may.

        Raises:
            IplabError: As `iplab.connection.status` maps it.
        """
        deadline = time.monotonic() + self.timeout

        def once() -> Answer:
            left = max(deadline - time.monotonic(), 0.001)
            return method(request, timeout=left, metadata=self._metadata())

        with call_span(type(request).__name__.removesuffix("Request")):
            return self.retry(once) if repeat else self._attempt(once)

    def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Answer],
        request: Request,
        timeout: float | None = None,
    ) -> Iterator[Answer]:
        """One request, a stream of answers. Not retried: only the caller knows where to continue.

        Raises:
            IplabError: As `iplab.connection.status` maps it.
        """
        try:
            call = method(request, timeout=timeout, metadata=self._metadata())
        except grpc.RpcError as error:
            raise self._translated(error) from None
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._translated(error) from None
        finally:
            # A reader that stops early (break, Ctrl-C) must not leave the stream open on the service.
            cast(grpc.RpcContext, call).cancel()  # type: ignore[no-untyped-call] # so in grpc-stubs

    def retry(self, attempt: Callable[[], Value]) -> Value:
        """Run `attempt`; while the service is unavailable or busy, again after growing, jittered delays."""
        for delay in RETRY_DELAYS:
            try:
                return self._attempt(attempt)
            except UnavailableError:
                pause(delay)
            except QuotaExceededError as error:
                if error.limit != _PACE or error.retry_seconds is None or error.retry_seconds > _LONGEST_PACE:
                    raise
                pause(max(delay, error.retry_seconds))
        return self._attempt(attempt)

    def _attempt(self, attempt: Callable[[], Value]) -> Value:
        try:
            return attempt()
        except grpc.RpcError as error:
            raise self._translated(error) from None

    def _translated(self, error: grpc.RpcError) -> IplabError:
        """The SDK's error. It says all that gRPC's does, whose traceback would fill a notebook's cell."""
        translated = from_call(cast(grpc.Call, error), self.address)
        if isinstance(translated, TimedOutError):
            return TimedOutError(f"{translated}; raise it with iplab.connect(timeout=...)")
        if isinstance(translated, UnavailableError) and (hint := proxies.hint(self.address)):
            return UnavailableError(f"{translated}; {hint}")
        return translated


def pause(delay: float) -> None:
    """Sleep about `delay` seconds; the jitter keeps many clients from coming back at the same moment."""
    time.sleep(delay * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, not a secret
