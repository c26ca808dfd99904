"""An experiment: what was submitted, how it goes, what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from iplab import events
from iplab.events import Event
from iplab.plain import time_of, to_plain
from iplab.reading import member, read
from iplab.report import Report, check_experiment
from iplab.run import Run
from iplab.states import ExperimentState, Regime
from iplab.summary import SummaryRow, summarize
from iplab.transport import Transport
from iplab.v1 import experiment_pb2, experiment_service_pb2, run_service_pb2, spec_pb2
from iplab.v1.fields import ExperimentFields

if TYPE_CHECKING:
    from iplab.metrics import Metrics

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of runs in each state."""

    total: int
    queued: int
    running: int
    paused: int
    cancelling: int
    succeeded: int
    diverged: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """What theory says of one parameterization of the grid at one depth and activation.

    Attributes:
        parameterization: Its label.
        hidden_layers: L.
        activation: Name.
        regime: The verdict.
        summary: One sentence: the regime, which layers move from which step, and what decides.
        advice: What would change a trivial or diverging verdict, or "".
    """

    parameterization: str
    hidden_layers: int
    activation: str
    regime: Regime
    summary: str
    advice: str


class Experiment(ExperimentFields):
    """Runs trained from one spec, as of the last time it was read (`refresh`).

    Attributes:
        id: The last part of its name.
    """

    def __init__(self, transport: Transport, message: experiment_pb2.Experiment) -> None:
        self._transport = transport
        self._take(message)

    def _take(self, message: experiment_pb2.Experiment) -> None:
        self._experiment = message
        self.id = message.name.rpartition("/")[2]

    def __repr__(self) -> str:
        counts = self.counts
        ended = counts.succeeded + counts.diverged + counts.failed + counts.cancelled
        return (
            f"<Experiment {self.id or '(not created)'}: {self.state}, {ended}/{counts.total} runs ended, "
            f"{self.committed_steps}/{self.total_steps} steps>"
        )

    @property
    def state(self) -> ExperimentState:
        """Its state."""
        return member(ExperimentState, self._experiment, "state")

    @property
    def counts(self) -> Counts:
        """Number of runs in each state."""
        return read(Counts, self._experiment.counts)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """What theory says of every parameterization, depth and activation of the grid.

        Listings leave predictions out, so they are read from the service when first asked for.
        """
        if not self._experiment.predictions and self.id:
            self.refresh()
        return tuple(read(Prediction, prediction) for prediction in self._experiment.predictions)

    @property
    def spec(self) -> spec_pb2.ExperimentSpec:
        """What is trained, with defaults filled in (a copy)."""
        copy = spec_pb2.ExperimentSpec()
        copy.CopyFrom(self._experiment.spec)
        return copy

    @property
    def create_time(self) -> datetime:
        """When it was accepted (UTC)."""
        return time_of(self._experiment.create_time)

    def to_dict(self) -> dict[str, object]:
        """All fields as plain values, as `iplab show --json` prints them."""
        return to_plain(self._experiment)

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

        What trains is given back with a checkpoint, about two seconds later: PAUSING until then, PAUSED from
        then on. It can be cancelled all the same. Harmless if it has ended.
        """
        request = experiment_service_pb2.PauseExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.PauseExperiment, request))
        return self

    def resume(self) -> Experiment:
        """Continue it from its checkpoints; harmless if it is not paused. Returns itself, read again.

        Its networks end bit for bit as they would have without the pause.
        """
        request = experiment_service_pb2.ResumeExperimentRequest(name=self.name)
        self._take(self._transport.call(self._transport.experiments.ResumeExperiment, request))
        return self

    def runs(self, filter: str = "") -> Iterator[Run]:
        """Its runs, ascending by index, fetched by page.

        Args:
            filter: Comparisons joined by AND, OR and NOT, with parentheses, of state, index,
                parameterization, hidden_layers, width, activation, base_learning_rate, seed,
                committed_steps, pack and the names of `Run.results`:
                'parameterization = "ip-llr" AND (width >= 128 OR final_test_loss < 0.5)'.

        Raises:
            InvalidRequestError: The filter cannot be read.
        """
        token = ""
        while True:
            request = run_service_pb2.ListRunsRequest(
                parent=self.name, page_size=_PAGE, page_token=token, filter=filter
            )
            page = self._transport.call(self._transport.runs.ListRuns, request)
            for message in page.runs:
                yield Run(self._transport, message)
            token = page.next_page_token
            if not token:
                return

    def unmatched(self, filter: str) -> str:
        """Why a filter matches none of its runs: its values that no run has; "" if it matches one."""
        request = run_service_pb2.ListRunsRequest(parent=self.name, page_size=1, filter=filter)
        return self._transport.call(self._transport.runs.ListRuns, request).unmatched

    def run(self, run: int | str) -> Run:
        """One run, with its attempts.

        Args:
            run: Its index in the grid, or its id ("r00007").

        Raises:
            NotFoundError: The grid has no such run.
        """
        # A run's id is a function of its index, so that no listing is needed.
        identifier = f"r{run:05d}" if isinstance(run, int) else run
        request = run_service_pb2.GetRunRequest(name=f"{self.name}/runs/{identifier}")
        return Run(self._transport, self._transport.call(self._transport.runs.GetRun, request))

    def watch(self, after: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """Events in order and without gaps, old ones first, until it has ended.

        A connection that breaks, or a reader that the service finds too slow, does not end the iteration: it
        goes on after the last event.

        Args:
            after: Sequence of the last event already known; 0: from the first.
            timeout: Seconds until TimedOutError; None: no limit.

        Raises:
            UnavailableError: The service stayed away for a minute.
        """
        return events.watch(self._transport, self.name, after, timeout)

    def wait(self, progress: bool = True, timeout: float | None = None) -> Experiment:
        """Wait until it has ended; one that is paused waits until somebody resumes it.

        Args:
            progress: Show progress and the time left: in a notebook below the cell, else on standard error,
                with a bar per group of runs (hidden layers, width, activation) on a terminal, and a line
                every few seconds in a file or pipe.
            timeout: Seconds until TimedOutError; None: no limit.

        Returns:
            Itself, read again: SUCCEEDED, FAILED or CANCELLED.
        """
        from iplab.progress import follow  # noqa: PLC0415 - rich only where something is drawn

        follow(self.watch(timeout=timeout), self.id, show=progress)
        return self.refresh()

    def metrics(
        self, filter: str = "", names: Sequence[str] = (), first_step: int = 0, last_step: int = 0
    ) -> Metrics:
        """Recorded points of its runs as columns.

        Args:
            filter: Which runs, as in `runs`; "": all.
            names: Which metrics: "train_loss", "train_accuracy", "test_loss", "test_accuracy", with a
                validation set "validation_loss", "validation_accuracy", with probes "quantity/layer"
                ("h_change/2"; "h_change/*" for all layers); (): all.
            first_step: Only points with step >= first_step.
            last_step: Only points with step <= last_step; 0: to the end.

        Raises:
            InvalidRequestError: A metric that the experiment does not record (all that it does are listed),
                or wrong steps.
        """
        from iplab.query import query_metrics  # noqa: PLC0415 - numpy only where arrays are wanted

        return query_metrics(self._transport, self.name, filter, names, steps=(first_step, last_step))

    def summary(self, filter: str = "") -> list[SummaryRow]:
        """Mean and spread over seeds of the final test loss and accuracy, a row per point of the grid."""
        return summarize(self.runs(filter))

    def check(
        self,
        references: Mapping[str, str] | None = None,
        steps: Sequence[int] = (),
        tolerance: float | None = None,
        *,
        alignment: bool = False,
    ) -> Report:
        """Compare what it recorded with theory: slopes over widths, verdicts, and what is missing.

        Coordinates need `record.probes {quantities: [coordinates], steps: [0, 1, 2, 3]}`, three widths and,
        to agree, three seeds.

        Args:
            references: What was intended, by label: another label or a preset. {"mine": "mup"} finds the
                layer in which "mine" is not muP.
            steps: At which coordinates are checked; (): 0 to 3 and the last recorded one.
            tolerance: Distance from a predicted exponent that still agrees, 0 < tolerance <= 1; None: 0.1.
            alignment: Check measured alignment too (probe `alignment`), and ask theory again with it.

        Raises:
            InvalidRequestError: Labels, presets, steps or a tolerance that do not exist.
        """
        return check_experiment(
            self._transport, self.name, references or {}, steps, tolerance, alignment=alignment
        )
