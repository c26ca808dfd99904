"""What goes into the store and comes out of it, as plain values (no SQLAlchemy, no proto).

Times are seconds since 1970-01-01 UTC by the store's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, get_type_hints

from ipcore.catalogue import DatasetInfo
from ipserver.store.shapes import ONE_CORE
from ipserver.store.states import ExperimentState, FailureReason, PackState, RunState
from ipserver.store.summary import Summary

Operator = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One term of a filter; a filter is the conjunction of its terms.

    Attributes:
        field: A field name of the listing ("width", "labels.team").
        op: The operator.
        value: Already of the field's type.
    """

    field: str
    op: Operator
    value: str | int | float


@dataclass(frozen=True, slots=True, order=True)
class NetworkShape:
    """The axes of the grid that runs of one pack share: what kind of network they train.

    Runs, packs and their rows have fields of the same names.
    """

    hidden_layers: int
    width: int
    activation: str

    @classmethod
    def of(cls, value: Any) -> NetworkShape:
        """Of a run, a pack, a row of either, or a configuration.

        >>> NetworkShape.of(NewRun(0, "mup", 2, 64, "relu", 0.1, 0))
        NetworkShape(hidden_layers=2, width=64, activation='relu')
        """
        return cls(*(getattr(value, axis) for axis in AXES))

    def values(self) -> dict[str, Any]:
        """By the name of the field."""
        return {axis: getattr(self, axis) for axis in AXES}


# Name and type of each: columns of the store, fields of filters.
AXES: Final[Mapping[str, type[int] | type[str]]] = MappingProxyType(get_type_hints(NetworkShape))


@dataclass(frozen=True, slots=True)
class NewRun:
    """A point of the grid, as accepted."""

    index: int
    parameterization: str
    hidden_layers: int
    width: int
    activation: str
    base_learning_rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """An experiment, as accepted.

    Attributes:
        id: Last part of its resource name.
        request_id: Key of idempotent creation, or "".
        request_hash: SHA-256 of the request, to tell a repetition from another request with its id.
        spec: The serialized `iplab.v1.ExperimentSpec`, defaults filled in.
        resources: What each of its packs asks for, by name ("cpus", "gpus", custom names).
    """

    id: str
    uid: str
    request_id: str
    request_hash: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    spec: bytes
    spec_hash: str
    steps: int
    run_memory_bytes: int
    warnings: tuple[str, ...] = ()
    resources: Mapping[str, float] = field(default_factory=lambda: {"cpus": 1.0})


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """An experiment, as stored.

    Attributes:
        shape: What each of its packs asks for (`ipserver.store.shapes`).
        dataset_sha256: Digest of the registered file that its committed steps were trained on; None: another
            dataset, or nothing is committed.
        unplaceable_since: Since when dispatchers find that no node can hold its waiting packs; None: not so.
    """

    id: str
    uid: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    spec: bytes
    spec_hash: str
    steps: int
    run_memory_bytes: int
    warnings: tuple[str, ...]
    state: ExperimentState
    counts: Mapping[RunState, int]
    committed_steps: int
    sequence: int
    mlflow_pending_runs: int
    create_time: float
    start_time: float | None
    end_time: float | None
    shape: str = ONE_CORE
    dataset_sha256: str | None = None
    unplaceable_since: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong."""

    reason: FailureReason
    message: str
    traceback: str = ""
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run, as stored."""

    experiment: str
    index: int
    parameterization: str
    hidden_layers: int
    width: int
    activation: str
    base_learning_rate: float
    seed: int
    state: RunState
    pack: str
    committed_steps: int
    steps: int
    summary: Summary
    calibrated_rates: tuple[float, ...]
    failure: Failure | None
    start_time: float | None
    end_time: float | None
    mlflow_run_id: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One assignment of a pack to a worker."""

    number: int
    token: int
    owner: str
    first_step: int
    start_time: float
    end_time: float | None
    end_reason: FailureReason | None


@dataclass(frozen=True, slots=True)
class NewPack:
    """Runs to be trained together, as planned.

    Attributes:
        id: Unique in the experiment, [a-z0-9-].
        run_indices: Its runs, ascending; fixed for ever.
        memory_bytes: Estimated memory of the worker.
    """

    id: str
    run_indices: tuple[int, ...]
    hidden_layers: int
    width: int
    activation: str
    steps: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A checkpoint that a commit has named.

    Attributes:
        path: Relative to the artifact root, with forward slashes.
        step: Updates done when it was written.
    """

    path: str
    size_bytes: int
    sha256: str
    step: int


@dataclass(frozen=True, slots=True)
class LeasedPack:
    """A pack in the hands of one dispatcher.

    Attributes:
        token: Fencing token of this lease; every commit names it.
        attempt: 1 for the first.
        committed_steps: Updates committed by earlier attempts.
        runs: Its runs in pack order (all of them, the ended ones too).
        checkpoints: Committed checkpoints, newest first.
        fruitless: Per cause, earlier attempts that failed since the pack last committed a step. Those that
            were given back count for nothing.
    """

    experiment: ExperimentRecord
    id: str
    state: PackState
    token: int
    attempt: int
    committed_steps: int
    steps: int
    memory_bytes: int
    runs: tuple[RunRecord, ...]
    checkpoints: tuple[CheckpointRecord, ...]
    fruitless: Mapping[FailureReason, int]


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased pack, and what it takes.

    Attributes:
        shape: What it asks for (`ipserver.store.shapes`).
        node: Name of the node it lies on; "": it waits for a node to be added.
        leaving: Whether it is to make room for a more urgent one.
    """

    experiment: str
    pack: str
    token: int
    owner: str
    shape: str
    priority: int
    node: str
    leaving: bool

    @property
    def lease(self) -> tuple[str, str, int]:
        """Which lease it is: experiment, pack, token."""
        return self.experiment, self.pack, self.token


@dataclass(frozen=True, slots=True)
class Queued:
    """An experiment with packs that wait for a worker.

    Attributes:
        packs: How many.
    """

    experiment: str
    shape: str
    priority: int
    create_time: float
    packs: int


@dataclass(frozen=True, slots=True)
class Board:
    """What dispatchers decide by: the same picture for all of one cluster.

    Attributes:
        claims: Leased packs of the cluster whose leases have not run out, most urgent first.
        queued: Experiments that wait, most urgent first: a page of them, and the first of every shape.
    """

    claims: tuple[Claim, ...]
    queued: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """What a dispatcher decides.

    Attributes:
        start: Experiment whose next pack starts, and the node that has room for it ("": it waits for one).
        giving: Leases (experiment, pack, token) of packs that make room from now on, each with the experiment
            that they do so for.
    """

    start: tuple[str, str] | None = None
    giving: Mapping[tuple[str, str, int], str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.start is not None or bool(self.giving)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a decision.

    Attributes:
        decided: Whether there was anything to do.
        pack: The pack that the caller has leased by it, if any.
        node: Where it is to lie.
    """

    decided: bool
    pack: LeasedPack | None = None
    node: str = ""


@dataclass(frozen=True, slots=True)
class EndedPack:
    """A pack of which nothing is trained any more, and which of its files count.

    Attributes:
        named: Locations of the files that commits have named for its runs.
    """

    experiment: str
    pack: str
    named: frozenset[str]


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """A file that a slice has produced.

    Attributes:
        path: Name within the run: "weights/final.safetensors".
        location: Relative to the artifact root, with forward slashes.
    """

    run_index: int
    path: str
    location: str
    size_bytes: int
    sha256: str
    step: int


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """A file of a run, as stored."""

    experiment: str
    run_index: int
    path: str
    location: str
    size_bytes: int
    sha256: str
    step: int
    create_time: float


@dataclass(frozen=True, slots=True)
class SliceCommit:
    """All that one slice changes, applied in one transaction or not at all.

    Attributes:
        first_step: First update of the slice; must be committed_steps + 1 of the pack. A pack whose runs
            all ended early commits a last slice with finished = True.
        last_step: Last update of the slice, >= first_step.
        segment: Metric points as one compressed Arrow block; b"" if there are none.
        summaries: Summary per run index, whole (not a delta).
        ended: Runs that end with this slice: SUCCEEDED or DIVERGED.
        calibrated_rates: Base rates of step 0 per run index; only in the first slice.
        artifacts: Files written in this slice.
        checkpoint: Checkpoint written in this slice, if any.
        finished: Whether the pack has nothing more to train.
        dataset_sha256: Digest of the registered file that it was trained on; None: another dataset.
    """

    first_step: int
    last_step: int
    segment: bytes
    summaries: Mapping[int, Summary]
    ended: Mapping[int, RunState] = field(default_factory=dict)
    calibrated_rates: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    artifacts: tuple[NewArtifact, ...] = ()
    checkpoint: CheckpointRecord | None = None
    finished: bool = False
    dataset_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What the dispatcher must know after a commit.

    Attributes:
        ended: Indices of all runs of the pack that are terminal now (the trainer masks them).
        done: Whether the pack has ended: no run is left to train.
        pausing: Whether its experiment is to pause: it should be given back with a checkpoint.
        obsolete_checkpoints: Paths of checkpoints that are no longer recorded; their files may go.
    """

    ended: frozenset[int]
    done: bool
    pausing: bool = False
    obsolete_checkpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One committed metric segment.

    Attributes:
        id: Ascending in commit order within a pack.
    """

    id: int
    pack: str
    first_step: int
    last_step: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event. Exactly one of state, run_state, pack, message says what happened.

    Attributes:
        kind: "experiment_state", "runs_state", "pack_progress" or "notice".
        payload: JSON-ready values: {"state"}, {"state", "runs"}, {"pack", "hidden_layers", "width",
            "activation", "runs", "committed_steps", "steps"} or {"message"}.
    """

    sequence: int
    time: float
    kind: str
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """A dataset as a dispatcher found it.

    Attributes:
        name: As in specs.
        problem: Why it cannot be used, or "".
        info: What is known of it; None if it cannot be used.
    """

    name: str
    problem: str
    info: DatasetInfo | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Which store this is.

    Attributes:
        uid: Made up once, when it was first asked for.
        artifact_root: Where the artifacts lay that it was first used with; "": no part has said so yet.
    """

    uid: str
    artifact_root: str


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """What a dispatcher saw last.

    Attributes:
        resources: Total of the cluster by name ("cpus", "gpus", custom names).
        datasets: One report per built-in dataset and registered file.
        time: When it was stored.
    """

    resources: Mapping[str, float]
    datasets: tuple[DatasetReport, ...]
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the store names.

    Attributes:
        location: Below the artifact root.
        sha256: In hexadecimal digits.
        checkpoint: Whether it is one of a pack; those go when newer ones are there.
    """

    location: str
    sha256: str
    checkpoint: bool


@dataclass(frozen=True, slots=True)
class ForwardTask:
    """A run that MLflow does not hold in full yet.

    Attributes:
        attempt: Number of the newest attempt at it, which is the one that ended it if it has ended; 0: none.
        after_segment: Id of the newest segment of its pack already sent for it; 0: none.
        files: Its files that have not been published yet, by path.
    """

    experiment: ExperimentRecord
    run: RunRecord
    attempt: int
    after_segment: int
    files: tuple[ArtifactRecord, ...]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What MLflow holds of a run since it was sent.

    Attributes:
        experiment: The experiment's id.
        index: The run's index.
        mlflow_run_id: Its id in MLflow.
        new: Whether the store did not know that id when the run was sent.
        segment: All segments of its pack up to this id were sent; 0: none.
        files: The files that were published.
        state: The state that was sent as the final one, if one was.
    """

    experiment: str
    index: int
    mlflow_run_id: str
    new: bool = False
    segment: int = 0
    files: tuple[ArtifactRecord, ...] = ()
    state: RunState | None = None
