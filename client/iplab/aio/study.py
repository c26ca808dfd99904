"""A study, for programs with an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Self

from iplab.aio.experiment import AsyncExperiment
from iplab.connection.async_transport import AsyncTransport, pause
from iplab.connection.resuming import Resuming
from iplab.errors import IplabError
from iplab.studies import request as requests
from iplab.studies.study_view import StudyView
from iplab.v1 import experiment_service_pb2, study_pb2, study_service_pb2


class AsyncStudy(StudyView):
    """A question with its answer, as of the last time it was read (`refresh`)."""

    def __init__(self, transport: AsyncTransport, message: study_pb2.Study) -> None:
        super().__init__(message)
        self._transport = transport

    async def refresh(self) -> Self:
        """Read it again. Returns itself."""
        request = study_service_pb2.GetStudyRequest(name=self.name)
        self._take(await self._transport.call(self._transport.studies.GetStudy, request))
        return self

    async def cancel(self) -> Self:
        """End it and cancel its experiments; harmless if it has ended. Returns itself, with the new state."""
        request = study_service_pb2.CancelStudyRequest(name=self.name)
        self._take(await self._transport.call(self._transport.studies.CancelStudy, request))
        return self

    async def update(
        self,
        *,
        display_name: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        notes: str | None = None,
        priority: int | None = None,
        etag: str = "",
    ) -> Self:
        """Change its name, labels, notes or priority, as `iplab.Study.update`. Returns itself."""
        request = requests.update(
            self.name, etag, labels, display_name=display_name, notes=notes, priority=priority
        )
        self._take(await self._transport.call(self._transport.studies.UpdateStudy, request, repeat=not etag))
        return self

    async def delete(self) -> Self:
        """Delete it once it has ended; its experiments stay. As `iplab.Study.delete`. Returns itself."""
        request = study_service_pb2.DeleteStudyRequest(name=self.name)
        await self._transport.call(self._transport.studies.DeleteStudy, request)
        return await self.refresh()

    async def undelete(self) -> Self:
        """Restore it; harmless if it is not deleted. Returns itself, as `iplab.Study.undelete`."""
        request = study_service_pb2.UndeleteStudyRequest(name=self.name)
        self._take(await self._transport.call(self._transport.studies.UndeleteStudy, request))
        return self

    async def purge(self) -> Self:
        """Remove a deleted study permanently now, as `iplab.Study.purge`. Returns itself."""
        request = study_service_pb2.PurgeStudyRequest(name=self.name)
        self._take(await self._transport.call(self._transport.studies.PurgeStudy, request))
        return self

    async def trained(self) -> AsyncIterator[AsyncExperiment]:
        """Its experiments, in the order of their creation."""
        for name in self.experiments:
            request = experiment_service_pb2.GetExperimentRequest(name=name)
            message = await self._transport.call(self._transport.experiments.GetExperiment, request)
            yield AsyncExperiment(self._transport, message)

    async def watch(self, timeout: float | None = None) -> AsyncIterator[Self]:
        """Yield the study now and after every change, until it has ended; as `iplab.Study.watch`."""
        resuming = Resuming(self.name, timeout)
        request = study_service_pb2.WatchStudyRequest(name=self.name)
        method = self._transport.studies.WatchStudy
        while True:
            try:
                if resuming.lost:
                    await self.refresh()
                    resuming.found()
                stream = self._transport.stream(method, request, timeout=resuming.left())
                async with aclosing(stream) as answers:
                    async for answer in answers:
                        resuming.found()
                        self._take(answer.study)
                        yield self
                if self.state.terminal:
                    return
            except IplabError as error:
                resuming.survive(error)
            await pause(resuming.delay())

    async def wait(self, *, timeout: float | None = None) -> Self:
        """Wait until it has ended, without showing progress. Returns itself, read again."""
        async for _ in self.watch(timeout):
            pass
        return self
