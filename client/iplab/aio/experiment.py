"""An experiment, for programs with an event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from iplab.aio.following import watch
from iplab.aio.listing import AsyncListing
from iplab.aio.query import query_metrics
from iplab.aio.run import AsyncRun
from iplab.connection.async_transport import AsyncTransport
from iplab.results import requests
from iplab.results.events import Event
from iplab.results.experiment_view import ExperimentView
from iplab.results.summary import Summary, summary_row
from iplab.v1 import experiment_pb2, experiment_service_pb2, run_service_pb2

if TYPE_CHECKING:
    from iplab.results.metrics import Metrics


class AsyncExperiment(ExperimentView):
    """Runs trained from one spec, as of the last time it was read (`refresh`)."""

    def __init__(self, transport: AsyncTransport, message: experiment_pb2.Experiment) -> None:
        super().__init__(message)
        self._transport = transport

    async def refresh(self) -> Self:
        """Read it again. Returns itself."""
        request = experiment_service_pb2.GetExperimentRequest(name=self.name)
        self._take(await self._transport.call(self._transport.experiments.GetExperiment, request))
        return self

    async def cancel(self) -> Self:
        """Ask all unfinished runs to stop; harmless if it has ended. Returns itself, with the new state."""
        request = experiment_service_pb2.CancelExperimentRequest(name=self.name)
        self._take(await self._transport.call(self._transport.experiments.CancelExperiment, request))
        return self

    async def delete(self, *, etag: str = "") -> Self:
        """Delete it once it has ended; arguments and errors as `iplab.Experiment.delete`. Returns itself."""
        request = experiment_service_pb2.DeleteExperimentRequest(name=self.name, etag=etag)
        self._take(await self._transport.call(self._transport.experiments.DeleteExperiment, request))
        return self

    async def pause(self) -> Self:
        """Pause it until `resume`, as `iplab.Experiment.pause`. Returns itself, with the new state."""
        request = experiment_service_pb2.PauseExperimentRequest(name=self.name)
        self._take(await self._transport.call(self._transport.experiments.PauseExperiment, request))
        return self

    async def resume(self) -> Self:
        """Continue it from its checkpoints; harmless if it is not paused. Returns itself, read again."""
        request = experiment_service_pb2.ResumeExperimentRequest(name=self.name)
        self._take(await self._transport.call(self._transport.experiments.ResumeExperiment, request))
        return self

    async def undelete(self) -> Self:
        """Restore it; harmless if it is not deleted. Returns itself, as `iplab.Experiment.undelete`."""
        request = experiment_service_pb2.UndeleteExperimentRequest(name=self.name)
        self._take(await self._transport.call(self._transport.experiments.UndeleteExperiment, request))
        return self

    async def purge(self) -> Self:
        """Remove a deleted experiment permanently now, as `iplab.Experiment.purge`. Returns itself."""
        request = experiment_service_pb2.PurgeExperimentRequest(name=self.name)
        self._take(await self._transport.call(self._transport.experiments.PurgeExperiment, request))
        return self

    async def extend(
        self,
        *,
        seeds: Iterable[int] = (),
        widths: Iterable[int] = (),
        base_learning_rates: Iterable[float] = (),
        request_id: str | None = None,
        validate_only: bool = False,
    ) -> AsyncExperiment:
        """Add seeds, widths or base learning rates to its grid, as `iplab.Experiment.extend`."""
        request = requests.extension(
            self.name, seeds, widths, base_learning_rates, request_id, validate_only=validate_only
        )
        method = self._transport.experiments.ExtendExperiment
        repeat = bool(request.request_id) or validate_only
        message = await self._transport.call(method, request, repeat=repeat)
        if validate_only:
            return AsyncExperiment(self._transport, message)
        self._take(message)
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
        """Change its name, labels, notes or priority, as `iplab.Experiment.update`. Returns itself."""
        request = requests.update(
            self.name, etag, labels, display_name=display_name, notes=notes, priority=priority
        )
        method = self._transport.experiments.UpdateExperiment
        self._take(await self._transport.call(method, request, repeat=not etag))
        return self

    async def retry_failed(self, *, request_id: str | None = None) -> Self:
        """Train all runs that failed again, as `iplab.Experiment.retry_failed`. Returns itself."""
        request = experiment_service_pb2.RetryFailedRunsRequest(
            name=self.name, request_id=requests.request_id(request_id)
        )
        method = self._transport.experiments.RetryFailedRuns
        self._take(await self._transport.call(method, request, repeat=bool(request.request_id)))
        return self

    def runs(self, filter: str = "", order_by: str = "") -> AsyncListing[AsyncRun]:
        """Its runs, fetched by page; arguments and errors as `iplab.Experiment.runs`."""
        request = requests.runs(self.name, filter, order_by)

        async def read() -> AsyncGenerator[AsyncRun, None]:
            found = self._transport.listing(self._transport.runs.ListRuns, request, lambda page: page.runs)
            async for message in found:
                yield AsyncRun(self._transport, message)

        return AsyncListing(f"runs of {self.id}", read())

    async def run(self, run: int | str) -> AsyncRun:
        """One run, with its attempts, by its index or id. Raises NotFoundError if the grid has none."""
        request = run_service_pb2.GetRunRequest(name=requests.run_name(self.name, run))
        return AsyncRun(self._transport, await self._transport.call(self._transport.runs.GetRun, request))

    async def watch(self, after: int = 0, timeout: float | None = None) -> AsyncIterator[Event]:
        """Events in order and without gaps until it has ended. A broken connection is resumed.

        Arguments and errors as `iplab.Experiment.watch`.
        """
        async with aclosing(watch(self._transport, self.name, after, timeout)) as events:
            async for event in events:
                yield event

    async def wait(self, *, timeout: float | None = None) -> Self:
        """Wait until it has ended, without showing progress.

        Args:
            timeout: Seconds until TimedOutError; None: no limit.

        Returns:
            Itself, read again: SUCCEEDED, FAILED or CANCELLED.
        """
        async for _ in self.watch(timeout=timeout):
            pass
        return await self.refresh()

    async def metrics(
        self, filter: str = "", names: Sequence[str] = (), first_step: int = 0, last_step: int = 0
    ) -> Metrics:
        """Recorded points of its runs as columns; arguments and errors as `iplab.Experiment.metrics`."""
        found = await query_metrics(self._transport, self.name, filter, names, (first_step, last_step))
        runs = [run async for run in self.runs(filter)]
        return replace(found, settings=requests.settings_of(runs), diverged=requests.diverged_of(runs))

    async def summary(self, filter: str = "") -> Summary:
        """Means over seeds, a row per point of the grid, as `iplab.Experiment.summary`."""
        request = requests.summary(self.name, filter)
        groups = self._transport.listing(
            self._transport.runs.SummarizeRuns, request, lambda page: page.groups
        )
        return Summary([summary_row(group) async for group in groups])
