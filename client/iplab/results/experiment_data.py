"""Calls that read what an experiment's runs are and recorded: runs, metrics, summaries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from iplab.connection.batches import in_batches
from iplab.connection.paging import PAGE
from iplab.connection.transport import Transport
from iplab.display import listed
from iplab.results import requests
from iplab.results.best import BestRate, BestRates, best_rate
from iplab.results.experiment_view import ExperimentView
from iplab.results.listing import Listing
from iplab.results.run import Run
from iplab.results.settings import Settings
from iplab.results.summary import Summary, summary_row
from iplab.v1 import run_pb2, run_service_pb2

if TYPE_CHECKING:
    import pandas as pd

    from iplab.results.metrics import Metrics


class ExperimentData(ExperimentView):
    """An experiment whose runs can be read."""

    _transport: Transport
    _settings: Mapping[int, Settings] | None = None

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
            request = requests.runs(self.name, filter, order_by)
            method = self._transport.runs.ListRuns
            for message in self._transport.listing(method, request, lambda page: page.runs, most):
                yield Run(self._transport, message)

        return Listing(f"runs of {self.id}", read, listed.runs, empty=lambda: self.unmatched(filter))

    def unmatched(self, filter: str) -> str:
        """Why a filter matches none of its runs: names values that no run has; "" if it matches one."""
        request = requests.runs(self.name, filter, page_size=1)
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
        request = requests.best_rates(self.name, filter, by, largest=largest)

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
