"""Calls that read an experiment again or change it: its state, its grid, its description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from iplab.connection.transport import Transport
from iplab.results import requests
from iplab.results.experiment_view import ExperimentView
from iplab.v1 import experiment_pb2, experiment_service_pb2


class ExperimentChanges(ExperimentView):
    """An experiment that can be read again and changed."""

    def __init__(self, transport: Transport, message: experiment_pb2.Experiment) -> None:
        super().__init__(message)
        self._transport = transport

    def refresh(self) -> Self:
        """Read it again. Returns itself."""
        request = experiment_service_pb2.GetExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.GetExperiment, request))
        return self

    def cancel(self) -> Self:
        """Ask all unfinished runs to stop; harmless if it has ended. Returns itself, with the new state."""
        request = experiment_service_pb2.CancelExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.CancelExperiment, request))
        return self

    def pause(self) -> Self:
        """Pause it: none of its runs is trained until `resume`. Returns itself, with the new state.

        Training packs are given back with a checkpoint, about two seconds later: the state is PAUSING until
        then, and then PAUSED. A paused experiment can be cancelled. Harmless if it has ended.
        """
        request = experiment_service_pb2.PauseExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.PauseExperiment, request))
        return self

    def resume(self) -> Self:
        """Continue it from its checkpoints; harmless if it is not paused. Returns itself, read again.

        The pause does not change the results: final weights are equal bit for bit.
        """
        request = experiment_service_pb2.ResumeExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.ResumeExperiment, request))
        return self

    def extend(
        self,
        *,
        seeds: Iterable[int] = (),
        widths: Iterable[int] = (),
        base_learning_rates: Iterable[float] = (),
        request_id: str | None = None,
        validate_only: bool = False,
    ) -> Self:
        """Add seeds, widths or base learning rates to its grid.

        The new runs are numbered after the existing ones, and get the random numbers that they would have had
        if all had been submitted at once. An experiment that has ended SUCCEEDED or FAILED continues until
        they have ended.

        Args:
            seeds: New seeds.
            widths: New widths.
            base_learning_rates: New rates of the grid's axis.
            request_id: A UUID. The same id with the same request adds nothing twice. Default: a new one for
                this call, so that its retries add nothing twice; "": none, and no retries.
            validate_only: Add nothing; return another `Experiment` that shows the result.

        Returns:
            Itself, with the new state and counts.

        Raises:
            InvalidRequestError: It has some values already, a spec may not have them, or it was cancelled;
                names all wrong fields.
            RequestIdReusedError: The request id was used with another request.

        Example:
            >>> experiment.extend(seeds=range(8, 16)).wait()        # doctest: +SKIP
        """
        request = requests.extension(
            self.name, seeds, widths, base_learning_rates, request_id, validate_only=validate_only
        )
        message = self._transport.call(
            self._transport.experiments.ExtendExperiment,
            request,
            repeat=bool(request.request_id) or validate_only,
        )
        if validate_only:
            return type(self)(self._transport, message)
        self._take(message)
        return self

    def update(
        self,
        *,
        display_name: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        notes: str | None = None,
        priority: int | None = None,
        etag: str = "",
    ) -> Self:
        """Change its display name, labels, notes or priority, in any state. Other fields are unchanged.

        Args:
            display_name: Free text on one line; "" removes it.
            labels: New values of single labels, or None to remove a label; other labels stay.
            notes: Free text of any number of lines; "" removes it.
            priority: New priority, which applies from the next scheduling decision on.
            etag: Change nothing unless this is its `etag` on the service; "" skips this check.

        Returns:
            Itself, read again.

        Raises:
            InvalidRequestError: Nothing is given, or values are invalid; names all wrong fields.
            EtagMismatchError: It has changed since it had this etag; `refresh` it before you change it.
            QuotaExceededError: The priority exceeds a limit.

        Example:
            >>> experiment.update(labels={"paper": "fig-3", "draft": None}, priority=5)     # doctest: +SKIP
        """
        request = requests.update(
            self.name, etag, labels, display_name=display_name, notes=notes, priority=priority
        )
        # Not repeated with an etag, because the first attempt may have changed it.
        self._take(
            self._transport.call(self._transport.experiments.UpdateExperiment, request, repeat=not etag)
        )
        return self

    def retry_failed(self, *, request_id: str | None = None) -> Self:
        """Train all failed runs again, from where they stopped.

        Recorded data stay. Diverged runs are not retried, because they would diverge again. Harmless if no
        run failed.

        Args:
            request_id: A UUID. The same id trains nothing a second time. Default: a new one for this call, so
                that its retries are one; "": none, and no retries.

        Returns:
            Itself, with the new state and counts.

        Raises:
            InvalidRequestError: It is deleted, or was asked to stop.
            QuotaExceededError: A limit is reached.

        Example:
            >>> experiment.retry_failed().wait()                      # doctest: +SKIP
        """
        request = experiment_service_pb2.RetryFailedRunsRequest(
            name=self.name, request_id=requests.request_id(request_id)
        )
        method = self._transport.experiments.RetryFailedRuns
        self._take(self._transport.call(method, request, repeat=bool(request.request_id)))
        return self

    def delete(self, *, etag: str = "") -> Self:
        """Delete it after its end: listings omit it. Harmless if it is deleted already.

        Until its `purge_time` it can be read, and restored by `undelete`. Then it is purged, with its weights
        and other files. Data in MLflow stay there.

        Args:
            etag: Delete it only if this is its `etag` on the service; "" skips this check.

        Returns:
            Itself, read again.

        Raises:
            InvalidRequestError: It has not ended (cancel it first), or it belongs to a study that has not
                ended.
            EtagMismatchError: It has changed since it had this etag.
        """
        request = experiment_service_pb2.DeleteExperimentRequest(name=self.name, etag=etag)
        self._take(self._transport.call(self._transport.experiments.DeleteExperiment, request))
        return self

    def undelete(self) -> Self:
        """Restore it. Harmless if it is not deleted. Returns itself, read again.

        Raises:
            InvalidRequestError: It is being purged.
        """
        request = experiment_service_pb2.UndeleteExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.UndeleteExperiment, request))
        return self

    def purge(self) -> Self:
        """Remove a deleted experiment permanently now, before its `purge_time`. Needs the role admin.

        A dispatcher removes its files and rows when no worker can still be writing. From now on it cannot be
        restored, and its id is never reused.

        Returns:
            Itself, with the new `purge_time`.

        Raises:
            InvalidRequestError: It is not deleted.
        """
        request = experiment_service_pb2.PurgeExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.PurgeExperiment, request))
        return self
