"""A run, for programs with an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from iplab.aio.query import query_metrics
from iplab.connection.async_transport import AsyncTransport, pause
from iplab.errors import UnavailableError
from iplab.results import requests
from iplab.results.artifacts import Artifact, Reading, artifact_at, place, save, weights_file
from iplab.results.reading import read
from iplab.results.requests import diverged_of, settings_of
from iplab.results.run_view import RunView
from iplab.v1 import run_pb2, run_service_pb2

if TYPE_CHECKING:
    from iplab.results.metrics import Metrics
    from iplab.results.weights import Weights


class AsyncRun(RunView):
    """One network trained from one point of the grid, as of the last time it was read (`refresh`)."""

    def __init__(self, transport: AsyncTransport, message: run_pb2.Run) -> None:
        super().__init__(message)
        self._transport = transport

    async def refresh(self) -> Self:
        """Read it again, with its attempts. Returns itself."""
        request = run_service_pb2.GetRunRequest(name=self.name)
        self._take(await self._transport.call(self._transport.runs.GetRun, request))
        return self

    async def cancel(self) -> Self:
        """Ask it to stop; harmless if it has ended. Returns itself, with the new state."""
        request = run_service_pb2.CancelRunRequest(name=self.name)
        self._take(await self._transport.call(self._transport.runs.CancelRun, request))
        return self

    async def metrics(self, names: tuple[str, ...] = (), first_step: int = 0, last_step: int = 0) -> Metrics:
        """Its metric points; arguments as `iplab.Experiment.metrics`."""
        parent = self.name.partition("/runs/")[0]
        steps = (first_step, last_step)
        found = await query_metrics(self._transport, parent, f"index = {self.index}", names, steps)
        return replace(found, settings=settings_of([self]), diverged=diverged_of([self]))

    async def retry(self, *, request_id: str | None = None) -> Self:
        """Train it again if it failed; arguments and errors as `iplab.Run.retry`. Returns itself."""
        request = run_service_pb2.RetryRunRequest(name=self.name, request_id=requests.request_id(request_id))
        method = self._transport.runs.RetryRun
        self._take(await self._transport.call(method, request, repeat=bool(request.request_id)))
        return self

    async def artifacts(self) -> list[Artifact]:
        """Its files, ascending by path."""
        request = run_service_pb2.ListArtifactsRequest(parent=self.name)
        method = self._transport.runs.ListArtifacts
        files = self._transport.listing(method, request, lambda page: page.artifacts)
        return [read(Artifact, entry) async for entry in files]

    async def weights(self, which: str | int = "final") -> Weights:
        """Weights as arrays, checked; arguments and errors as `iplab.Run.weights`."""
        from iplab.results.weights import parse_weights  # noqa: PLC0415 - numpy only where arrays are wanted

        return parse_weights(await self.read(weights_file(self, await self.artifacts(), which)))

    async def read(self, artifact: Artifact | str) -> bytes:
        """A file's bytes, checked; errors as `iplab.Run.read`."""
        wanted = artifact
        if not isinstance(wanted, Artifact):
            wanted = artifact_at(self.name, await self.artifacts(), wanted)
        return b"".join([data async for data in self._chunks(wanted)])

    async def download(
        self, path: Artifact | str, to: str | os.PathLike[str], *, overwrite: bool = True
    ) -> Path:
        """Copy a file of the run here; arguments and errors as `iplab.Run.download`."""
        artifact = path
        if not isinstance(artifact, Artifact):
            artifact = artifact_at(self.name, await self.artifacts(), artifact)
        target = place(artifact, to, overwrite=overwrite)
        await asyncio.to_thread(save, [await self.read(artifact)], target)
        return target

    async def _chunks(self, artifact: Artifact) -> AsyncIterator[bytes]:
        reading, method = Reading(self.name, artifact), self._transport.runs.ReadArtifact
        while True:
            try:
                async with aclosing(self._transport.stream(method, reading.request())) as answers:
                    async for answer in answers:
                        yield reading.take(answer)
                break
            except UnavailableError as error:
                await pause(reading.delay_after(error))
        reading.verify()
