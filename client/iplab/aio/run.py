"""A run, for programs with an event loop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from iplab.aio.query import query_metrics
from iplab.connection.async_transport import AsyncTransport
from iplab.results.requests import diverged_of, settings_of
from iplab.results.run_view import RunView
from iplab.v1 import run_pb2, run_service_pb2

if TYPE_CHECKING:
    from iplab.results.metrics import Metrics


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
