"""The async channel to a service: as `iplab.connection.transport`, over grpc.aio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import grpc
from grpc import aio

from iplab.connection.endpoint import Endpoint
from iplab.connection.paging import ListRequest, Page, Paging
from iplab.connection.retries import Retries, jittered
from iplab.connection.tracing import call_span
from iplab.errors import IplabError
from iplab.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from iplab.v1.run_service_pb2_grpc import RunServiceStub
from iplab.v1.study_service_pb2_grpc import StudyServiceStub

if TYPE_CHECKING:
    from iplab.v1.experiment_service_pb2_grpc import ExperimentServiceAsyncStub
    from iplab.v1.run_service_pb2_grpc import RunServiceAsyncStub
    from iplab.v1.study_service_pb2_grpc import StudyServiceAsyncStub

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Value = TypeVar("Value")
Asked = TypeVar("Asked", bound=ListRequest)
Listed = TypeVar("Listed", bound=Page)


class AsyncTransport(Endpoint):
    """One channel, shared by all handles of a client. Arguments and attributes: `Endpoint`.

    It belongs to the event loop in which it is created.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        metadata: Sequence[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        token: Callable[[], str] = str,
    ) -> None:
        super().__init__(address, timeout, metadata, credentials, token)
        asyncio.get_running_loop()  # without one, gRPC would create a loop that never runs
        options = self._options()
        self._channel = (
            aio.insecure_channel(self.address, options=options)
            if self._credentials is None
            else aio.secure_channel(self.address, self._credentials, options=options)
        )
        self.experiments: ExperimentServiceAsyncStub = ExperimentServiceStub(self._channel)
        self.runs: RunServiceAsyncStub = RunServiceStub(self._channel)
        self.studies: StudyServiceAsyncStub = StudyServiceStub(self._channel)

    async def close(self) -> None:
        """Close the channel; running calls end with an error."""
        await self._channel.close(None)

    async def call(
        self, method: aio.UnaryUnaryMultiCallable[Request, Answer], request: Request, *, repeat: bool = True
    ) -> Answer:
        """One request, one answer, as `Transport.call`."""
        deadline = time.monotonic() + self.timeout

        async def once() -> Answer:
            left = max(deadline - time.monotonic(), 0.001)
            return await method(request, timeout=left, metadata=self._metadata())

        with call_span(type(request).__name__.removesuffix("Request")):
            return await (self.retry(once) if repeat else self._attempt(once))

    async def listing(
        self,
        method: aio.UnaryUnaryMultiCallable[Asked, Listed],
        request: Asked,
        items: Callable[[Listed], Sequence[Value]],
        limit: int | None = None,
    ) -> AsyncIterator[Value]:
        """All items of a listing, fetched by page, as `Transport.listing`."""
        paging = Paging(request, limit)
        while not paging.done:
            page = await self.call(method, paging.request)
            found = items(page)
            paging.turn(page, len(found))
            for item in found:
                yield item

    async def stream(
        self,
        method: aio.UnaryStreamMultiCallable[Request, Answer],
        request: Request,
        timeout: float | None = None,
    ) -> AsyncGenerator[Answer, None]:
        """One request, a stream of answers, as `Transport.stream`."""
        call = method(request, timeout=timeout, metadata=self._metadata())
        try:
            async for answer in call:
                yield answer
        except grpc.RpcError as error:
            raise self._translated(error) from None
        finally:
            # A reader that stops early must not leave the stream open on the service.
            call.cancel()

    async def retry(self, attempt: Callable[[], Awaitable[Value]]) -> Value:
        """Await `attempt`; while the service is unavailable or busy, again, as `Transport.retry`."""
        retries = Retries()
        while True:
            try:
                return await self._attempt(attempt)
            except IplabError as error:
                delay = retries.delay_after(error)
                if delay is None:
                    raise
            await pause(delay)

    async def _attempt(self, attempt: Callable[[], Awaitable[Value]]) -> Value:
        try:
            return await attempt()
        except grpc.RpcError as error:
            raise self._translated(error) from None


async def pause(delay: float) -> None:
    """Sleep about `delay` seconds."""
    await asyncio.sleep(jittered(delay))
