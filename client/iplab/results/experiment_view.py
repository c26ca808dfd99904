"""Fields of an experiment as it was last read, shared by the sync and the async class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from iplab.given import Handle
from iplab.results.numbers import counted
from iplab.results.reading import member, read
from iplab.results.states import ExperimentState, Regime
from iplab.specs.plain import time_of, to_plain
from iplab.v1 import experiment_pb2, spec_pb2
from iplab.v1.fields import ExperimentFields

_NO_RESULT: Final = (
    "No run has a result: every loss stopped being finite. plot() shows where; try smaller base "
    "learning rates."
)
_FAILED: Final = (
    '{} failed: next(experiment.runs("state = FAILED")) says why, experiment.retry_failed() trains again.'
)


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
class QueuePlace:
    """Estimated place of a waiting experiment in the queue, which changes as others submit.

    Attributes:
        packs_before: Number of packs (runs that train together) that are likely to start before its first
            pack.
        expected_start_time: Likely start of its first pack (UTC); None if unknown.
    """

    packs_before: int
    expected_start_time: datetime | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """Theory's prediction for one parameterization of the grid at one depth and activation.

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


class Predictions(tuple[Prediction, ...]):
    """Theory's predictions for a grid, shown as a table in notebooks."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone

        rows = [
            (p.parameterization, p.hidden_layers, p.activation, p.regime.words, p.summary, p.advice)
            for p in self
        ]
        headings = ("parameterization", "L", "activation", "theory", "why", "advice")
        return html.table_html(headings, rows) if rows else ""


class ExperimentView(ExperimentFields, Handle):
    """An experiment as it was last read.

    Attributes:
        id: The last part of its name.
    """

    def __init__(self, message: experiment_pb2.Experiment) -> None:
        self._take(message)

    def _take(self, message: experiment_pb2.Experiment) -> None:
        self._experiment = message
        self.id = message.name.rpartition("/")[2]

    def __repr__(self) -> str:
        counts = self.counts
        ended = counts.succeeded + counts.diverged + counts.failed + counts.cancelled
        kind = type(self).__name__
        return (
            f"<{kind} {self.id or '(not created)'}: {self.outcome}, {ended}/{counts.total} runs ended, "
            f"{self.committed_steps}/{self.total_steps} steps>"
        )

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone

        return html.titled(
            self.headline,
            html.paragraph(self.display_name) if self.display_name else "",
            html.progress(self.committed_steps, self.total_steps),
            html.paragraph(_NO_RESULT) if self.all_diverged else "",
            html.paragraph(_FAILED.format(counted(self.counts.failed, "run"))) if self.counts.failed else "",
            html.listed(f"warning: {text}" for text in self.warnings),
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
    def all_diverged(self) -> bool:
        """Whether it ended without any result: no loss of any run stayed finite."""
        return self.state.terminal and self.counts.diverged == self.counts.total

    @property
    def outcome(self) -> str:
        """Its state in words: "all diverged" instead of SUCCEEDED if there are no results."""
        return "all diverged" if self.all_diverged else str(self.state)

    @property
    def headline(self) -> str:
        """One line: "quick is SUCCEEDED: 72 runs (72 succeeded)", "hot has ended: 4 runs (all diverged)"."""
        from dataclasses import asdict  # noqa: PLC0415 - few need it

        name, counts = self.id or "(not created)", self.counts
        if self.all_diverged:
            return f"{name} has ended: {counted(counts.total, 'run')} (all diverged)"
        each = ", ".join(f"{n} {state}" for state, n in asdict(counts).items() if n and state != "total")
        return f"{name} is {self.state}: {counted(counts.total, 'run')} ({each})"

    @property
    def queue_place(self) -> QueuePlace | None:
        """Its place in the queue as of the last `refresh`; None if unknown, or if it is not QUEUED."""
        found = self._experiment
        return read(QueuePlace, found.queue_place) if found.HasField("queue_place") else None

    @property
    def predictions(self) -> Predictions:
        """Theory's predictions for every parameterization, depth and activation of the grid.

        Listings omit predictions: there are none until it is read again.
        """
        return Predictions(read(Prediction, prediction) for prediction in self._experiment.predictions)

    @property
    def spec(self) -> spec_pb2.ExperimentSpec:
        """The spec, with defaults filled in (a copy)."""
        copy = spec_pb2.ExperimentSpec()
        copy.CopyFrom(self._experiment.spec)
        return copy

    @property
    def create_time(self) -> datetime:
        """When it was accepted (UTC)."""
        return time_of(self._experiment.create_time)

    def as_spec(self, changes: Mapping[str, object] | None = None) -> dict[str, object]:
        """The spec that would submit it again, without its notes, as `client.create` accepts it.

        Args:
            changes: New values by path; "spec." may be left out, and None removes a field.

        Raises:
            SpecError: Paths do not exist; names all of them.

        Example:
            >>> client.create(experiment.as_spec({"steps": 1000, "grid.seeds": [8, 9]}))     # doctest: +SKIP
        """
        from iplab.specs.changing import spec_of  # noqa: PLC0415 - few need it

        return spec_of(self._experiment, changes)

    def to_dict(self) -> dict[str, object]:
        """All fields as plain values, as `iplab show --json` prints them."""
        return to_plain(self._experiment)
