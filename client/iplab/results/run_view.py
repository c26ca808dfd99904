"""Fields of a run as it was last read, shared by the sync and the async class."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ipcore.catalogue.widths import plain_width, width_of
from iplab.given import Handle
from iplab.results.numbers import number
from iplab.results.reading import computed, member, read
from iplab.results.settings import AXES, Settings
from iplab.results.states import Regime, RunState
from iplab.specs.plain import enum_name, to_plain
from iplab.v1 import run_pb2
from iplab.v1.fields import RunFields, RunSummaryFields


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed.

    Attributes:
        reason: "WORKER_LOST", "DATA_UNAVAILABLE", "OUT_OF_MEMORY", "TRAINING_ERROR", ...
        message: One sentence.
        traceback: The worker's traceback, or "".
        log_tail: The last lines of the worker's log, or "".
    """

    reason: str
    message: str
    traceback: str
    log_tail: str


def _end_reason(attempt: run_pb2.Attempt) -> str:
    name = enum_name(run_pb2.FailureReason.DESCRIPTOR, attempt.end_reason)
    return "" if name == "UNSPECIFIED" else name


@dataclass(frozen=True, slots=True)
class Attempt:
    """One assignment of a run's pack to a worker.

    Attributes:
        number: 1, 2, ...
        owner: The dispatcher of the attempt.
        first_step: Updates already committed when it started.
        end_reason: Why it ended early ("WORKER_LOST", "LEASE_LOST", ...), or "".
        start_time: When it started (UTC).
        end_time: When it ended (UTC); None if it has not ended.
    """

    number: int
    owner: str
    first_step: int
    end_reason: str = field(metadata=computed(_end_reason))
    start_time: datetime | None
    end_time: datetime | None


class RunView(RunFields, RunSummaryFields, Handle):
    """A run as it was last read.

    Attributes:
        id: "r00007", a function of the index.
    """

    def __init__(self, message: run_pb2.Run) -> None:
        self._take(message)

    def _take(self, message: run_pb2.Run) -> None:
        self._run, self._run_summary = message, message.summary
        self.id = message.name.rpartition("/")[2]

    def __repr__(self) -> str:
        kind = type(self).__name__
        return (
            f"<{kind} {self.name}: {self.parameterization} L={self.hidden_layers} m={self.width} "
            f"{self.activation} eta={number(self.base_learning_rate, 6)} seed={self.seed}, {self.state}, "
            f"{self.committed_steps}/{self.steps} steps>"
        )

    def _repr_html_(self) -> str:
        from iplab.display import html  # noqa: PLC0415 - notebooks alone

        rows = [
            ("state", f"{self.state}, {self.committed_steps} of {self.steps} steps"),
            *((name.replace("_", " "), getattr(self, name)) for name in AXES),
            ("theory", self.predicted_regime.words),
            *((name.replace("_", " "), number(v, 6)) for name, v in self.results.items() if v is not None),
        ]
        if self.failure:
            rows.append(("failure", f"{self.failure.reason}: {self.failure.message}"))
        return html.titled(self.name, html.table_html((), rows))

    @property
    def width(self) -> float:  # type: ignore[override] # the message's field is a whole number
        """Width m; math.inf for a limit of infinite width."""
        return width_of(self._run.width)

    @property
    def state(self) -> RunState:
        """Its state."""
        return member(RunState, self._run, "state")

    @property
    def settings(self) -> Settings:
        """Its point of the grid."""
        return Settings.of(self)

    @property
    def results(self) -> dict[str, float | int | None]:
        """The values of its summary (`final_test_loss`, ...) by name; None until there is one."""
        return {entry.name: getattr(self, entry.name) for entry in run_pb2.RunSummary.DESCRIPTOR.fields}

    @property
    def predicted_regime(self) -> Regime:
        """Theory's prediction in the limit of infinite width."""
        return member(Regime, self._run, "predicted_regime")

    @property
    def failure(self) -> Failure | None:
        """Why it failed; None unless FAILED."""
        return read(Failure, self._run.failure) if self._run.HasField("failure") else None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts at the run, oldest first; empty unless read by `run()` or `refresh`."""
        return tuple(read(Attempt, attempt) for attempt in self._run.attempts)

    def to_dict(self) -> dict[str, object]:
        """All fields as plain values, as `iplab show EXPERIMENT RUN --json` prints them.

        "attempts" is empty unless it was read by `run()` or `refresh`.
        """
        return to_plain(self._run) | {"width": plain_width(self.width)}
