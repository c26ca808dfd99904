"""The sync channel to a service: calls with a deadline, retries, and the SDK's errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

import grpc

from iplab.connection.endpoint import Endpoint
from iplab.connection.paging import ListRequest, Page, Paging
from iplab.connection.retries import Retries, jittered
from iplab.connection.tracing import call_span
from iplab.errors import IplabError
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
Asked = TypeVar("Asked", bound=ListRequest)
Listed = TypeVar("Listed", bound=Page)


class Transport(Endpoint):
    """One channel, shared by all handles of a client. Thread-safe. Arguments and attributes: `Endpoint`."""

    def __init__(
        self,
        address: str,
        timeout: float,
        metadata: Sequence[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        token: Callable[[], str] = str,
    ) -> None:
        super().__init__(address, timeout, metadata, credentials, token)
        options = self._options()
        self._channel = (
            grpc.insecure_channel(self.address, options=options)
            if self._credentials is None
            else grpc.secure_channel(self.address, self._credentials, options=options)
        )
        self.experiments = ExperimentServiceStub(self._channel)
        self.runs = RunServiceStub(self._channel)
        self.catalog = CatalogServiceStub(self._channel)
        self.parameterizations = ParameterizationServiceStub(self._channel)
        self.quotas = QuotaServiceStub(self._channel)
        self.audit = AuditServiceStub(self._channel)
        self.reports = ReportServiceStub(self._channel)
        self.studies = StudyServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel; running calls end with an error."""
        self._channel.close()

    def call(
        self, method: grpc.UnaryUnaryMultiCallable[Request, Answer], request: Request, *, repeat: bool = True
    ) -> Answer:
        """Make a unary call. Retried while the service is unavailable.

        Args:
            method: A method of one of the stubs.
            request: The request message.
            repeat: Whether it may be sent twice, such as a read or a cancellation.

        Raises:
            IplabError: As `iplab.connection.status` maps it.
        """
        deadline = time.monotonic() + self.timeout

        def once() -> Answer:
            left = max(deadline - time.monotonic(), 0.001)
            return method(request, timeout=left, metadata=self._metadata())

        with call_span(type(request).__name__.removesuffix("Request")):
            return self.retry(once) if repeat else self._attempt(once)

    def listing(
        self,
        method: grpc.UnaryUnaryMultiCallable[Asked, Listed],
        request: Asked,
        items: Callable[[Listed], Sequence[Value]],
        limit: int | None = None,
    ) -> Iterator[Value]:
        """All items of a listing, fetched by page.

        Args:
            method: A method of one of the stubs.
            request: The first request message, without size and token.
            items: Returns the items of a page.
            limit: Maximum number of items; None: all.
        """
        paging = Paging(request, limit)
        while not paging.done:
            page = self.call(method, paging.request)
            found = items(page)
            paging.turn(page, len(found))
            yield from found

    def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Answer],
        request: Request,
        timeout: float | None = None,
    ) -> Iterator[Answer]:
        """Make a streaming call. Not retried, because only the caller knows where to continue.

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
        """Run `attempt`, again after growing, jittered delays while the service is unavailable or busy."""
        retries = Retries()
        while True:
            try:
                return self._attempt(attempt)
            except IplabError as error:
                delay = retries.delay_after(error)
                if delay is None:
                    raise
            pause(delay)

    def _attempt(self, attempt: Callable[[], Value]) -> Value:
        try:
            return attempt()
        except grpc.RpcError as error:
            raise self._translated(error) from None


def pause(delay: float) -> None:
    """Sleep about `delay` seconds."""
    time.sleep(jittered(delay))
