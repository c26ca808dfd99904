"""Input and output of the store as plain values (no SQLAlchemy, no protobuf).

Times are seconds since 1970-01-01 UTC by the store's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, get_type_hints

from ipcore.catalogue import DatasetInfo
from ipcore.planning.machine import MachineProfile
from ipserver.names import DEFAULT_PROJECT
from ipserver.store.shapes import ONE_CORE
from ipserver.store.states import ExperimentState, FailureReason, PackState, RunState, StudyState
from ipserver.store.summary import Summary

Operator = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One term of a filter. It is false where the value is absent.

    Attributes:
        field: A field name of the listing ("width", "labels.team").
        op: The operator.
        value: Value, of the field's type.
    """

    field: str
    op: Operator
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Junction:
    """Several conditions: all of them ("AND"; true of none), or one at least ("OR"; false of none)."""

    word: Literal["AND", "OR"]
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """What is not so: true where the comparison is false, also for want of a value."""

    part: Filter


Filter = Comparison | Junction | Negation
ALL: Final = Junction("AND", ())


def both(one: Filter, other: Filter) -> Filter:
    """The condition that both hold."""
    return Junction("AND", (one, other))


@dataclass(frozen=True, slots=True, order=True)
class NetworkShape:
    """The axes of the grid that runs of one pack share: what kind of network they train.

    Runs and packs are such shapes with more fields; their rows have columns of the same names.
    `ipserver.request.fields` names the grid's axes.
    """

    hidden_layers: int
    width: int
    activation: str

    @classmethod
    def of(cls, value: Any) -> NetworkShape:
        """Of a run, a pack, a row of either, or a configuration.

        >>> run = NewRun(2, 64, "relu", index=0, parameterization="mup", base_learning_rate=0.1, seed=0)
        >>> NetworkShape.of(run)
        NetworkShape(hidden_layers=2, width=64, activation='relu')
        """
        return NetworkShape(*(getattr(value, axis) for axis in AXES))

    @classmethod
    def of_depth(cls, hidden_layers: int) -> NetworkShape:
        """Of a depth alone, for what depends on nothing else; other axes are 1 or "".

        >>> NetworkShape.of_depth(3)
        NetworkShape(hidden_layers=3, width=1, activation='')
        """
        others = {axis: 1 if kind is int else "" for axis, kind in AXES.items()}
        return NetworkShape(**{**others, "hidden_layers": hidden_layers})  # type: ignore[arg-type]

    def values(self) -> dict[str, Any]:
        """By the name of the field."""
        return {axis: getattr(self, axis) for axis in AXES}


# Name and type of each: columns of the store, fields of filters.
AXES: Final[Mapping[str, type[int] | type[str]]] = MappingProxyType(get_type_hints(NetworkShape))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun(NetworkShape):
    """A run of an accepted experiment: one point of the grid."""

    index: int
    parameterization: str
    base_learning_rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """An accepted experiment.

    Attributes:
        id: Last part of the resource name.
        request_id: Key for idempotent creation, or "".
        request_hash: SHA-256 of the request; tells a repetition from another request with the same id.
        spec: The serialized `iplab.v1.ExperimentSpec`, defaults filled in.
        resources: Amounts that each of its packs asks for, by name ("cpus", "gpus", custom names).
        project: Id of its project.
        owned_by: The user who asks for it; "" if nobody had to say who they are.
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
    project: str = DEFAULT_PROJECT
    owned_by: str = ""


@dataclass(frozen=True, slots=True)
class Extension:
    """More runs for an experiment.

    Attributes:
        request_id: Key for idempotency, or "".
        request_hash: SHA-256 of the request.
        extended_hash: Hash of the spec that is extended: another extension may have come first.
        added: The added values by axis: "seeds", "widths", "base_learning_rates".
        runs: New runs, numbered after the existing ones; at least one.
        spec: The whole spec from now on, as in `NewExperiment`; so are hash, memory and warnings.
    """

    request_id: str
    request_hash: str
    extended_hash: str
    added: Mapping[str, tuple[int, ...] | tuple[float, ...]]
    runs: tuple[NewRun, ...]
    spec: bytes
    spec_hash: str
    run_memory_bytes: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """An experiment, as stored.

    Attributes:
        shape: Resources that each of its packs asks for, as text (`ipserver.store.shapes`).
        dataset_sha256: Digest of the registered file that its committed steps were trained on; None if the
            dataset is not a registered file or nothing is committed.
        unplaceable_since: When dispatchers first found that no node can hold its packs; None if one can.
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
    project: str = DEFAULT_PROJECT
    owned_by: str = ""


@dataclass(frozen=True, slots=True)
class NewStudy:
    """An accepted study.

    Attributes:
        id: Last part of the resource name.
        request_id: Key for idempotent creation, or "".
        request_hash: SHA-256 of the request.
        spec: The serialized `iplab.v1.StudySpec`, defaults filled in.
    """

    id: str
    uid: str
    request_id: str
    request_hash: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    spec: bytes
    warnings: tuple[str, ...] = ()
    project: str = DEFAULT_PROJECT
    owned_by: str = ""


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """What a study has found so far.

    Attributes:
        verdict: `iplab.v1.StudyVerdict` without its prefix; "": nothing is known.
        reason: `iplab.v1.StudyReason` without its prefix; "": it has not ended.
        sentence: In words.
        answers: By subject, with the fields of `iplab.v1.StudyAnswer`.
        core_seconds: Work on one core, of all rounds that have ended.
    """

    verdict: str = ""
    reason: str = ""
    sentence: str = ""
    answers: tuple[Mapping[str, Any], ...] = ()
    core_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class NewRound:
    """A round of a study, to be written down before any action is taken.

    Attributes:
        number: 1, 2, 3, ...
        why: What for.
        actions: What creates or extends experiments (`ipserver.studies.rounds`); each names its "experiment".
        runs: Number of runs that are asked for.
    """

    number: int
    why: str
    actions: tuple[Mapping[str, Any], ...]
    runs: int


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """A round, as stored.

    Attributes:
        done: Whether all actions were taken.
        learned: What was known after it, one sentence per subject; () until it has ended.
    """

    number: int
    why: str
    actions: tuple[Mapping[str, Any], ...]
    runs: int
    done: bool
    learned: tuple[str, ...]
    create_time: float
    end_time: float | None

    @property
    def experiments(self) -> tuple[str, ...]:
        """Ids of the experiments that it creates or extends."""
        return tuple(dict.fromkeys(action["experiment"] for action in self.actions))


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study, as stored.

    Attributes:
        token: Fencing token of its present or last lease.
        now: When it was read.
        ended_runs: Number of its runs that have ended.
    """

    id: str
    uid: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    spec: bytes
    warnings: tuple[str, ...]
    state: StudyState
    cancel_requested: bool
    sequence: int
    outcome: StudyOutcome
    rounds: tuple[RoundRecord, ...]
    token: int
    create_time: float
    end_time: float | None
    now: float
    ended_runs: int
    project: str = DEFAULT_PROJECT
    owned_by: str = ""

    @property
    def experiments(self) -> tuple[str, ...]:
        """Ids of its experiments, in the order of their creation."""
        return tuple(dict.fromkeys(name for one in self.rounds for name in one.experiments))

    @property
    def asked_runs(self) -> int:
        """Number of runs that it has asked for."""
        return sum(one.runs for one in self.rounds)

    @property
    def wall_seconds(self) -> float:
        """Time from its acceptance to its end, or until it was read."""
        return max(0.0, (self.now if self.end_time is None else self.end_time) - self.create_time)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong."""

    reason: FailureReason
    message: str
    traceback: str = ""
    log_tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(NetworkShape):
    """A run, as stored."""

    experiment: str
    index: int
    parameterization: str
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPack(NetworkShape):
    """A planned pack: runs to be trained together.

    Attributes:
        id: Unique in the experiment, [a-z0-9-].
        run_indices: Its runs, ascending. They never change.
        memory_bytes: Estimated memory of the worker, in bytes.
    """

    id: str
    run_indices: tuple[int, ...]
    steps: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A committed checkpoint.

    Attributes:
        path: Relative to the artifact root, with forward slashes.
        step: Number of updates done when it was written.
    """

    path: str
    size_bytes: int
    sha256: str
    step: int


@dataclass(frozen=True, slots=True)
class LeasedPack:
    """A pack leased to a dispatcher.

    Attributes:
        token: Fencing token of this lease; every commit names it.
        attempt: Number of the attempt, from 1.
        committed_steps: Number of updates committed by earlier attempts.
        runs: All its runs in pack order, including terminal ones.
        checkpoints: Committed checkpoints, newest first.
        fruitless: Number of earlier attempts, per cause, that failed since the pack last committed a step.
            Attempts that were given back are not counted.
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
    """A leased pack and the resources that it uses.

    Attributes:
        shape: Resources that it uses, as text (`ipserver.store.shapes`).
        node: Name of its node; "": it waits for a node to be added.
        leaving: Whether it is marked to make room for a more urgent pack.
    """

    experiment: str
    pack: str
    token: int
    owner: str
    shape: str
    priority: int
    node: str
    leaving: bool
    project: str = DEFAULT_PROJECT

    @property
    def lease(self) -> tuple[str, str, int]:
        """Key of the lease: experiment, pack, token."""
        return self.experiment, self.pack, self.token


@dataclass(frozen=True, slots=True)
class Queued:
    """An experiment with packs that wait for a worker.

    Attributes:
        packs: Number of waiting packs.
    """

    experiment: str
    shape: str
    priority: int
    create_time: float
    packs: int
    project: str = DEFAULT_PROJECT


@dataclass(frozen=True, slots=True)
class Board:
    """Input of scheduling decisions, the same for all dispatchers of a cluster.

    Attributes:
        claims: Leased packs of the cluster whose leases have not expired, most urgent first.
        queued: Waiting experiments, most urgent first: one page, and the first of every shape in every
            project.
    """

    claims: tuple[Claim, ...]
    queued: tuple[Queued, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """A scheduling decision.

    Attributes:
        start: Experiment whose next pack starts, and the node with room for it ("": it waits for a node).
        giving: Leases (experiment, pack, token) of packs to be marked to make room, each with the experiment
            that needs the room.
    """

    start: tuple[str, str] | None = None
    giving: Mapping[tuple[str, str, int], str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.start is not None or bool(self.giving)


@dataclass(frozen=True, slots=True)
class Moved:
    """Outcome of a decision.

    Attributes:
        decided: Whether the decision changed anything.
        pack: The pack that the caller now holds, if any.
        node: The node on which it is to run.
    """

    decided: bool
    pack: LeasedPack | None = None
    node: str = ""


@dataclass(frozen=True, slots=True)
class EndedPack:
    """An ended pack and its committed files.

    Attributes:
        named: Locations of the files that were committed for its runs.
    """

    experiment: str
    pack: str
    named: frozenset[str]


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """A file produced by a slice.

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
    """A stored file of a run."""

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
    """All changes made by one slice, applied in one transaction or not at all.

    Attributes:
        first_step: First update of the slice; must be the pack's committed_steps + 1. A pack whose runs
            all ended early commits a last slice with finished = True.
        last_step: Last update of the slice, >= first_step.
        segment: Metric points as one compressed Arrow block; b"" if there are none.
        summaries: Complete summary (not a delta) per run index.
        ended: Runs that end with this slice: SUCCEEDED or DIVERGED.
        calibrated_rates: Base rates of step 0 per run index; only in the first slice.
        artifacts: Files written in this slice.
        checkpoint: Checkpoint written in this slice, if any.
        finished: Whether the pack has nothing more to train.
        dataset_sha256: Digest of the registered file that it was trained on; None for other datasets.
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
    """Result of a commit for the dispatcher.

    Attributes:
        ended: Indices of all terminal runs of the pack (the trainer masks them).
        done: Whether the pack has ended because no run is left to train.
        pausing: Whether its experiment is pausing, so that the pack should be given back with a checkpoint.
        obsolete_checkpoints: Paths of checkpoints that are no longer recorded; their files can be deleted.
    """

    ended: frozenset[int]
    done: bool
    pausing: bool = False
    obsolete_checkpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One committed metric segment.

    Attributes:
        id: Ascends in commit order within a pack.
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
    """A dataset as seen by a dispatcher.

    Attributes:
        name: Name in specs.
        problem: Why it cannot be used, or "".
        info: Properties of the dataset; None if it cannot be used.
    """

    name: str
    problem: str
    info: DatasetInfo | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a store.

    Attributes:
        uid: Random id, generated when it was first read.
        artifact_root: URL of the artifact root that the store was first used with; "": none yet.
    """

    uid: str
    artifact_root: str


@dataclass(frozen=True, slots=True)
class PlannerReport:
    """What a dispatcher plans packs by.

    Attributes:
        max_pack_runs: Most runs of a pack.
        max_pack_memory_bytes: Most memory of a pack on CPUs.
        profile: Measured speed of a worker with one core; None: not measured yet.
    """

    max_pack_runs: int
    max_pack_memory_bytes: int
    profile: MachineProfile | None


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """A dispatcher's newest report on its cluster.

    Attributes:
        resources: Totals of the cluster by name ("cpus", "gpus", custom names).
        datasets: One report per built-in dataset and registered file.
        time: When it was stored.
        data: The folder of the datasets; "": none.
        planner: What packs are planned by; None: an older dispatcher, which does not say.
    """

    resources: Mapping[str, float]
    datasets: tuple[DatasetReport, ...]
    time: float = 0.0
    data: str = ""
    planner: PlannerReport | None = None


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the store refers to.

    Attributes:
        location: Relative to the artifact root.
        sha256: SHA-256 in hexadecimal digits.
        checkpoint: Whether it is a pack's checkpoint, which is deleted once newer ones exist.
    """

    location: str
    sha256: str
    checkpoint: bool


@dataclass(frozen=True, slots=True)
class ForwardTask:
    """A run with data that MLflow does not hold yet.

    Attributes:
        attempt: Number of the newest attempt at the run, up to the one that ended it; 0: none.
        after_segment: Id of its pack's newest segment that was sent for this run; 0: none.
        files: Its unpublished files, by path.
    """

    experiment: ExperimentRecord
    run: RunRecord
    attempt: int
    after_segment: int
    files: tuple[ArtifactRecord, ...]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Data of a run that were sent to MLflow.

    Attributes:
        experiment: The experiment's id.
        index: The run's index.
        mlflow_run_id: The run's id in MLflow.
        new: Whether the store did not hold this id when the run was sent.
        segment: Id up to which all segments of its pack were sent; 0: none.
        files: The published files.
        state: The terminal state that was sent, if any.
    """

    experiment: str
    index: int
    mlflow_run_id: str
    new: bool = False
    segment: int = 0
    files: tuple[ArtifactRecord, ...] = ()
    state: RunState | None = None
