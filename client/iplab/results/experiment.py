"""Experiments: submission, progress and results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from iplab.connection.batches import in_batches
from iplab.connection.paging import PAGE
from iplab.connection.transport import Transport
from iplab.display import listed
from iplab.results import following, requests
from iplab.results.best import BestRate, BestRates, best_rate
from iplab.results.events import Event
from iplab.results.experiment_view import ExperimentView, Predictions
from iplab.results.listing import Listing
from iplab.results.report import Report, check_experiment
from iplab.results.run import Run
from iplab.results.settings import Settings
from iplab.results.summary import Summary, summary_row
from iplab.v1 import experiment_pb2, experiment_service_pb2, run_pb2, run_service_pb2

if TYPE_CHECKING:
    import pandas as pd

    from ipcore.figures import Picture
    from iplab.results.metrics import Metrics


class Experiment(ExperimentView):
    """Runs trained from one spec, as of the last time it was read (`refresh`).

    Attributes:
        id: The last part of its name.
    """

    def __init__(self, transport: Transport, message: experiment_pb2.Experiment) -> None:
        super().__init__(message)
        self._transport = transport
        self._settings: Mapping[int, Settings] | None = None

    @property
    def predictions(self) -> Predictions:
        """Theory's predictions for every parameterization, depth and activation of the grid.

        Listings omit predictions, so they are read from the service at first use.
        """
        if not self._experiment.predictions and self.id:
            self.refresh()
        return super().predictions

    def refresh(self) -> Experiment:
        """Read it again. Returns itself."""
        request = experiment_service_pb2.GetExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.GetExperiment, request))
        return self

    def cancel(self) -> Experiment:
        """Ask all unfinished runs to stop; harmless if it has ended. Returns itself, with the new state."""
        request = experiment_service_pb2.CancelExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.CancelExperiment, request))
        return self

    def pause(self) -> Experiment:
        """Pause it: none of its runs is trained until `resume`. Returns itself, with the new state.

        Training packs are given back with a checkpoint, about two seconds later: the state is PAUSING until
        then, and then PAUSED. A paused experiment can be cancelled. Harmless if it has ended.
        """
        request = experiment_service_pb2.PauseExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.PauseExperiment, request))
        return self

    def resume(self) -> Experiment:
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
    ) -> Experiment:
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
            return Experiment(self._transport, message)
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
    ) -> Experiment:
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

    def retry_failed(self, *, request_id: str | None = None) -> Experiment:
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

    def delete(self, *, etag: str = "") -> Experiment:
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

    def undelete(self) -> Experiment:
        """Restore it. Harmless if it is not deleted. Returns itself, read again.

        Raises:
            InvalidRequestError: It is being purged.
        """
        request = experiment_service_pb2.UndeleteExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.UndeleteExperiment, request))
        return self

    def purge(self) -> Experiment:
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

    def runs(self, filter: str = "", order_by: str = "") -> Listing[Run]:
        """Its runs, ascending by index or in another order, fetched by page while they are iterated.

        Args:
            filter: Comparisons joined by AND, OR and NOT, with parentheses, of state, index,
                parameterization, hidden_layers, width, activation, base_learning_rate, seed,
                committed_steps, pack, start_time, end_time and the names of `Run.results`:
                'parameterization = "ip-llr" AND (width >= 128 OR final_test_loss < 0.5)'.
            order_by: The same names separated by commas, each optionally followed by "desc":
                "final_test_loss desc, width". Runs without a value come last.

        Raises:
            InvalidRequestError: The filter or the order is malformed.
        """

        def read(most: int | None) -> Iterator[Run]:
            request = run_service_pb2.ListRunsRequest(parent=self.name, filter=filter, order_by=order_by)
            method = self._transport.runs.ListRuns
            for message in self._transport.listing(method, request, lambda page: page.runs, most):
                yield Run(self._transport, message)

        return Listing(f"runs of {self.id}", read, listed.runs, empty=lambda: self.unmatched(filter))

    def unmatched(self, filter: str) -> str:
        """Why a filter matches none of its runs: names values that no run has; "" if it matches one."""
        request = run_service_pb2.ListRunsRequest(parent=self.name, page_size=1, filter=filter)
        return self._transport.call(self._transport.runs.ListRuns, request).unmatched

    def run(self, run: int | str) -> Run:
        """One run, with its attempts.

        Args:
            run: Its index in the grid, or its id ("r00007").

        Raises:
            NotFoundError: The grid has no such run.
        """
        request = run_service_pb2.GetRunRequest(name=requests.run_name(self.name, run))
        return Run(self._transport, self._transport.call(self._transport.runs.GetRun, request))

    def get_runs(self, runs: Iterable[int | str]) -> list[Run]:
        """Several runs, without their attempts, in the given order, read together.

        Args:
            runs: Their indices in the grid, or their ids ("r00007").

        Raises:
            NotFoundError: The grid lacks some of the runs; names the first eight.
        """
        names = [requests.run_name(self.name, run) for run in runs]

        def read(some: Sequence[str]) -> Sequence[run_pb2.Run]:
            request = run_service_pb2.BatchGetRunsRequest(parent=self.name, names=some)
            return self._transport.call(self._transport.runs.BatchGetRuns, request).runs

        return [Run(self._transport, message) for message in in_batches(names, PAGE, read)]

    def watch(self, after: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """Events in order and without gaps, past ones first, until it has ended.

        If the connection breaks, or the service finds the reader too slow, the iteration continues after the
        last event.

        Args:
            after: Sequence of the last known event; 0 begins with the first.
            timeout: Seconds until TimedOutError; None: no limit.

        Raises:
            UnavailableError: The service did not answer for a minute.
        """
        return following.watch(self._transport, self.name, after, timeout)

    def wait(self, progress: bool = True, timeout: float | None = None) -> Experiment:
        """Wait until it has ended; a paused one ends only after it is resumed.

        Args:
            progress: Show progress and the time left: in a notebook below the cell, else on standard error,
                with a bar per group of runs (hidden layers, width, activation) on a terminal, and a line
                every few seconds in a file or pipe.
            timeout: Seconds until TimedOutError; None: no limit.

        Returns:
            Itself, read again: SUCCEEDED, FAILED or CANCELLED.
        """
        from iplab.display.progress import follow  # noqa: PLC0415 - rich only where something is drawn

        def watch(say: Callable[[str], None]) -> Iterator[Event]:
            return following.watch(self._transport, self.name, timeout=timeout, say=say)

        follow(watch, self.id, show=progress)
        return self.refresh()

    def metrics(
        self, filter: str = "", names: Sequence[str] = (), first_step: int = 0, last_step: int = 0
    ) -> Metrics:
        """Recorded points of its runs as columns.

        Args:
            filter: Which runs, as in `runs`; "": all.
            names: Names of metrics: "train_loss", "train_accuracy", "test_loss", "test_accuracy", with a
                validation set "validation_loss", "validation_accuracy", with probes "quantity/layer"
                ("h_change/2"; "h_change/*" for all layers); (): all.
            first_step: Only points with step >= first_step.
            last_step: Only points with step <= last_step; 0 means to the end.

        Raises:
            InvalidRequestError: The experiment does not record a metric (the message lists those that it
                does), or the steps are invalid.
        """
        from iplab.results.query import query_metrics  # noqa: PLC0415 - numpy only where arrays are wanted

        return query_metrics(
            self._transport, self.name, filter, names, steps=(first_step, last_step),
            settings=lambda: self._settings_of(filter), diverged=lambda: self._diverged(filter),
        )  # fmt: skip

    def _settings_of(self, filter: str) -> Mapping[int, Settings]:
        """Settings of runs by index. They never change, so they are cached."""
        if self._settings is not None:
            return self._settings
        found = requests.settings_of(self.runs(filter))
        if not filter:
            self._settings = found
        return found

    def _diverged(self, filter: str) -> Mapping[int, int]:
        """Step at which each diverged run diverged, by index."""
        chosen = f"({filter}) AND state = DIVERGED" if filter else "state = DIVERGED"
        return requests.diverged_of(self.runs(chosen))

    def summary(self, filter: str = "") -> Summary:
        """Mean and spread over seeds of the final test loss and accuracy, a row per point of the grid.

        The rows are a list; `to_pandas()` makes a frame of them, and so does `pandas.DataFrame`, without the
        spreads.
        """
        request = requests.summary(self.name, filter)
        method = self._transport.runs.SummarizeRuns
        return Summary(map(summary_row, self._transport.listing(method, request, lambda page: page.groups)))

    def best_rates(self, filter: str = "", by: str = "", *, largest: bool = False) -> BestRates:
        """The best base learning rate of each parameterization, depth, width and activation.

        Args:
            filter: Which runs, as in `runs`.
            by: A value of runs' summaries (`Run.results`), whose mean over seeds decides. "": the smallest
                validation loss, or the final test loss without a validation set.
            largest: Whether the largest mean is best, as of an accuracy.

        Raises:
            InvalidRequestError: The filter is malformed, or there is no such value.

        Example:
            >>> experiment.best_rates(by="best_validation_accuracy", largest=True)      # doctest: +SKIP
        """
        request = run_service_pb2.SummarizeRunsRequest(
            parent=self.name,
            filter=filter,
            best_rate=run_service_pb2.BestRate(value=by, largest=largest),
        )

        def rates(page: run_service_pb2.SummarizeRunsResponse) -> list[BestRate]:
            return [best_rate(group, page.best_rate_value) for group in page.groups]

        return BestRates(self._transport.listing(self._transport.runs.SummarizeRuns, request, rates))

    def runs_frame(self, filter: str = "") -> pd.DataFrame:
        """Its runs as a frame of pandas: settings, state and results as plain columns, a row per run.

        Args:
            filter: Which runs, as in `runs`.

        Raises:
            ImportError: pandas is missing; `pip install 'iplab[pandas]'`.
            InvalidRequestError: The filter is malformed.
        """
        from iplab.results.frames import frame, run_row  # noqa: PLC0415 - an extra

        return frame(run_row(run) for run in self.runs(filter))

    def plot(
        self,
        kind: str | None = None,
        by: str | Sequence[str] | None = None,
        metric: str | None = None,
        filter: str = "",
    ) -> Picture:
        """A figure of its data. A notebook shows it; `save` writes it to a file.

        Args:
            kind: "coordinates" (sizes and changes against the width, with theory), "rates" (loss against the
                base rate), "curves" (learning curves), "drift" (best rate against the width),
                "isolated-updates", "calibrated-rates", "stationarity", "alignment-exponents", "limit"
                (distance to infinite width), or over updates by layer "ranks", "kernels", "alignment",
                "sizes", "changes"; None: coordinates if they were recorded, rates if there are three, else
                curves.
            by: Axis or axes of the grid with a line for each value ("parameterization", "width"); None: the
                first that varies. The other axes have a panel for each value.
            metric: With curves, a metric ("train_loss"), or a quantity of probes ("h_change"); None: the
                validation loss, or the test loss.
            filter: Which runs, as in `runs`; for what is drawn from runs and metrics.

        Raises:
            InvalidRequestError: There is no such kind, axis or metric, or the filter is malformed.
            PictureError: The experiment has no data of this kind; the message says which it has.
            ImportError: matplotlib is missing (when it is drawn); `pip install 'iplab[plot]'`.
        """
        from iplab.plotting import plot  # noqa: PLC0415 - only where it is drawn

        return plot(self, kind, by, metric, filter)

    def check(
        self,
        references: Mapping[str, str] | None = None,
        steps: Sequence[int] = (),
        tolerance: float | None = None,
        *,
        alignment: bool = False,
    ) -> Report:
        """Compare its recorded data with theory: slopes over widths, verdicts, and missing data.

        Coordinates need `record.probes {quantities: [coordinates], steps: [0, 1, 2, 3]}`, three widths and,
        to agree, three seeds.

        Args:
            references: Intended parameterization by label: another label or a preset. {"mine": "mup"} finds
                the layer in which "mine" is not muP.
            steps: Steps at which coordinates are checked; (): 0 to 3 and the last recorded one.
            tolerance: Distance from a predicted exponent that still agrees, 0 < tolerance <= 1; None: 0.1.
            alignment: Check measured alignment too (probe `alignment`), and predict again with it.

        Raises:
            InvalidRequestError: A label, preset, step or the tolerance is invalid.
        """
        return check_experiment(
            self._transport, self.name, references or {}, steps, tolerance, alignment=alignment
        )
