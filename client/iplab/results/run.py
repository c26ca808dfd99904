"""A run: one network of an experiment, its metrics and files."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ipcore.catalogue.widths import plain_width, width_of
from iplab.connection.transport import Transport
from iplab.errors import NotFoundError
from iplab.results.artifacts import Artifact, list_artifacts, read_chunks, save
from iplab.results.numbers import number
from iplab.results.reading import computed, member, read
from iplab.results.settings import AXES, Settings
from iplab.results.states import Regime, RunState
from iplab.specs.plain import enum_name, to_plain
from iplab.v1 import run_pb2, run_service_pb2
from iplab.v1.fields import RunFields, RunSummaryFields

if TYPE_CHECKING:
    from iplab.results.metrics import Metrics
    from iplab.results.weights import Weights


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed.

    Attributes:
        reason: "WORKER_LOST", "DATA_UNAVAILABLE", "OUT_OF_MEMORY", "TRAINING_ERROR", ...
        message: One sentence.
        traceback: The worker's, or "".
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
        owner: The dispatcher that led it.
        first_step: Updates already committed when it started.
        end_reason: Why it ended early ("WORKER_LOST", "LEASE_LOST", ...), or "".
        start_time: When it started (UTC).
        end_time: When it ended (UTC); None while it lives.
    """

    number: int
    owner: str
    first_step: int
    end_reason: str = field(metadata=computed(_end_reason))
    start_time: datetime | None
    end_time: datetime | None


class Run(RunFields, RunSummaryFields):
    """One network trained from one point of the grid, as of the last time it was read (`refresh`).

    Attributes:
        id: "r00007", a function of the index.
    """

    def __init__(self, transport: Transport, message: run_pb2.Run) -> None:
        self._transport = transport
        self._take(message)

    def _take(self, message: run_pb2.Run) -> None:
        self._run, self._run_summary = message, message.summary
        self.id = message.name.rpartition("/")[2]

    def __repr__(self) -> str:
        return (
            f"<Run {self.name}: {self.parameterization} L={self.hidden_layers} m={self.width} "
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
        return html.table_html(("", ""), rows, self.name)

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
        """Where it stands in the grid."""
        return Settings.of(self)

    @property
    def results(self) -> dict[str, float | int | None]:
        """The values of its summary (`final_test_loss`, ...) by name; None until there is one."""
        return {entry.name: getattr(self, entry.name) for entry in run_pb2.RunSummary.DESCRIPTOR.fields}

    @property
    def predicted_regime(self) -> Regime:
        """What theory predicts for it in the limit of infinite width."""
        return member(Regime, self._run, "predicted_regime")

    @property
    def failure(self) -> Failure | None:
        """Why it failed; None unless FAILED."""
        return read(Failure, self._run.failure) if self._run.HasField("failure") else None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every time a worker was given this run, oldest first; empty unless read by `run()` or `refresh`."""
        return tuple(read(Attempt, attempt) for attempt in self._run.attempts)

    def to_dict(self) -> dict[str, object]:
        """All fields as plain values, as `iplab show EXPERIMENT RUN --json` prints them.

        "attempts" is empty unless it was read by `run()` or `refresh`.
        """
        return to_plain(self._run) | {"width": plain_width(self.width)}

    def retry(self, *, request_id: str | None = None) -> Run:
        """Train it again if it failed, from where it stopped; harmless if it has not ended. Returns itself.

        Args:
            request_id: A UUID, as for `Experiment.retry_failed`.

        Raises:
            InvalidRequestError: It ended without failing, or its experiment is deleted or was asked to stop.
            QuotaExceededError: A limit is reached.
        """
        request = run_service_pb2.RetryRunRequest(
            name=self.name, request_id=str(uuid.uuid4()) if request_id is None else request_id
        )
        method = self._transport.runs.RetryRun
        self._take(self._transport.call(method, request, repeat=bool(request.request_id)))
        return self

    def refresh(self) -> Run:
        """Read it again, with its attempts. Returns itself."""
        request = run_service_pb2.GetRunRequest(name=self.name)
        self._take(self._transport.call(self._transport.runs.GetRun, request))
        return self

    def cancel(self) -> Run:
        """Ask it to stop; harmless if it has ended. Returns itself, with the new state."""
        request = run_service_pb2.CancelRunRequest(name=self.name)
        self._take(self._transport.call(self._transport.runs.CancelRun, request))
        return self

    def metrics(self, names: tuple[str, ...] = (), first_step: int = 0, last_step: int = 0) -> Metrics:
        """Its metric points; arguments as `Experiment.metrics`."""
        from iplab.results.query import query_metrics  # noqa: PLC0415 - numpy only where arrays are wanted

        parent = self.name.partition("/runs/")[0]
        return query_metrics(
            self._transport, parent, f"index = {self.index}", names, steps=(first_step, last_step),
            settings=lambda: {self.index: self.settings},
            diverged=lambda: {} if self.diverged_step is None else {self.index: self.diverged_step},
        )  # fmt: skip

    def artifacts(self) -> list[Artifact]:
        """Its files, ascending by path."""
        return list(list_artifacts(self._transport, self.name))

    def weights(self, which: str | int = "final") -> Weights:
        """Weights as arrays, checked against the recorded checksum.

        Args:
            which: "final", "initial", or the number of updates after which they were kept.

        Raises:
            NotFoundError: Not kept (or not yet there); the message lists what is.
            ArtifactDamagedError: Not the recorded size or checksum.
        """
        from iplab.results.weights import parse_weights  # noqa: PLC0415 - numpy only where arrays are wanted

        return parse_weights(self.read(self.weights_artifact(which)))

    def weights_artifact(self, which: str | int = "final") -> Artifact:
        """The file that `weights` reads. Raises NotFoundError as there."""
        files = [a for a in self.artifacts() if a.path.startswith("weights/")]
        for artifact in files:
            stem = artifact.path.removeprefix("weights/").removesuffix(".safetensors")
            if stem == str(which) or (isinstance(which, int) and artifact.step == which):
                return artifact
        there = ", ".join(f"{a.path} (step {a.step})" for a in files) or "none"
        raise NotFoundError(f"{self.name} is {self.state} and has no weights {which!r}; there are: {there}")

    def read(self, artifact: Artifact | str) -> bytes:
        """A file's bytes, checked. Raises as `download`."""
        return b"".join(self._chunks(self._artifact(artifact)))

    def download(self, path: Artifact | str, to: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Copy a file of the run here: complete and checked, or not at all.

        Args:
            path: An artifact, or its path within the run.
            to: Where to put it: a file, or an existing folder.
            overwrite: Whether a file that is there is replaced.

        Returns:
            The file.

        Raises:
            NotFoundError: No such artifact.
            ArtifactDamagedError: Not the recorded size or checksum; nothing is written.
            FileExistsError: There is such a file, and `overwrite` is false.
            OSError: It cannot be written.
        """
        artifact = self._artifact(path)
        target = Path(to)
        if target.is_dir():
            target /= Path(artifact.path).name
        if not overwrite and target.exists():
            raise FileExistsError(errno.EEXIST, "exists already", str(target))
        save(self._chunks(artifact), target)
        return target

    def _artifact(self, wanted: Artifact | str) -> Artifact:
        if isinstance(wanted, Artifact):
            return wanted
        files = self.artifacts()
        for artifact in files:
            if artifact.path == wanted:
                return artifact
        there = ", ".join(a.path for a in files) or "none"
        raise NotFoundError(f"{self.name} has no artifact {wanted!r}; there are: {there}")

    def _chunks(self, artifact: Artifact) -> Iterator[bytes]:
        return read_chunks(self._transport, self.name, artifact)
