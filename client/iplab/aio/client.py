"""Async connections to a service: create and find experiments and studies."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from iplab.aio.experiment import AsyncExperiment
from iplab.aio.listing import AsyncListing
from iplab.aio.study import AsyncStudy
from iplab.connection.async_transport import AsyncTransport
from iplab.connection.endpoint import find_way
from iplab.display.notebook import teach
from iplab.given import Handle
from iplab.results import requests
from iplab.results.requests import experiment_name
from iplab.specs.specfile import SpecSource
from iplab.specs.submission import Submission
from iplab.studies.asking import Asking, refuse_question
from iplab.studies.request import study_name
from iplab.v1 import experiment_service_pb2, study_service_pb2

if TYPE_CHECKING:
    import grpc


def connect(
    address: str | None = None,
    *,
    timeout: float | None = None,
    metadata: Sequence[tuple[str, str]] = (),
    profile: str | None = None,
    token: str | None = None,
    credentials: grpc.ChannelCredentials | None = None,
) -> AsyncClient:
    """An async client of the service at an address. Arguments as `iplab.connect`, which describes them.

    Nothing is sent before the first call. The client belongs to the event loop in which it is created.

    Raises:
        InvalidRequestError: The address, the profile, a certificate or the token is invalid.
        RuntimeError: No event loop is running.
    """
    return AsyncClient(AsyncTransport(*find_way(address, timeout, metadata, profile, token, credentials)))


class AsyncClient(Handle):
    """A connection to a service, for one event loop; close it, or use it in an `async with` statement."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        teach()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self._transport.address}>"

    async def close(self) -> None:
        """Close the connection. Experiments on the service are not affected."""
        await self._transport.close()

    async def create(
        self,
        spec: SpecSource,
        *,
        experiment_id: str = "",
        request_id: str | None = None,
        validate_only: bool = False,
    ) -> AsyncExperiment:
        """Submit an experiment. Arguments and errors as `iplab.Client.create`."""
        submission = Submission(spec, experiment_id, request_id, validate_only=validate_only)
        with submission.refusals():
            message = await self._transport.call(
                self._transport.experiments.CreateExperiment, submission.request, repeat=submission.repeat
            )
        return AsyncExperiment(self._transport, message)

    async def experiment(self, experiment: str) -> AsyncExperiment:
        """One experiment, by its id or name. Raises NotFoundError if there is none."""
        request = experiment_service_pb2.GetExperimentRequest(name=experiment_name(experiment))
        message = await self._transport.call(self._transport.experiments.GetExperiment, request)
        return AsyncExperiment(self._transport, message)

    def experiments(
        self, filter: str = "", limit: int | None = None, *, show_deleted: bool = False
    ) -> AsyncListing[AsyncExperiment]:
        """Experiments, newest first, fetched by page. Arguments as `iplab.Client.experiments`."""
        request = requests.experiments(filter, show_deleted=show_deleted)
        method = self._transport.experiments.ListExperiments

        async def read() -> AsyncGenerator[AsyncExperiment, None]:
            found = self._transport.listing(method, request, lambda page: page.experiments, limit)
            async for message in found:
                yield AsyncExperiment(self._transport, message)

        return AsyncListing("experiments, newest first", read())

    async def study(
        self,
        question: str,
        spec: SpecSource | None = None,
        *,
        budget: str = "",
        tolerance: float | None = None,
        error_rate: float | None = None,
        study_id: str = "",
        request_id: str | None = None,
        validate_only: bool = False,
        **settings: object,
    ) -> AsyncStudy:
        """Ask a question. Arguments and errors as `iplab.Client.study`."""
        if spec is None:
            refuse_question(question, budget)
            return await self.get_study(question)
        asking = Asking(
            question,
            spec,
            settings,
            budget=budget,
            tolerance=tolerance,
            error_rate=error_rate,
            study_id=study_id,
            request_id=request_id,
            validate_only=validate_only,
        )
        with asking.refusals():
            method = self._transport.studies.CreateStudy
            message = await self._transport.call(method, asking.request, repeat=asking.repeat)
        return AsyncStudy(self._transport, message)

    async def get_study(self, study: str) -> AsyncStudy:
        """One study, by its id or name. Raises NotFoundError if there is none."""
        request = study_service_pb2.GetStudyRequest(name=study_name(study))
        message = await self._transport.call(self._transport.studies.GetStudy, request)
        return AsyncStudy(self._transport, message)

    def studies(self, limit: int | None = None, *, show_deleted: bool = False) -> AsyncListing[AsyncStudy]:
        """Studies, newest first, fetched by page. Arguments as `iplab.Client.studies`."""
        request = study_service_pb2.ListStudiesRequest(show_deleted=show_deleted)
        method = self._transport.studies.ListStudies

        async def read() -> AsyncGenerator[AsyncStudy, None]:
            found = self._transport.listing(method, request, lambda page: page.studies, limit)
            async for message in found:
                yield AsyncStudy(self._transport, message)

        return AsyncListing("studies, newest first", read())
