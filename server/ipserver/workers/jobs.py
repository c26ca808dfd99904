"""What the dispatcher hands to a trainer and gets back. Plain values: they cross a process boundary."""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.config import PackConfig, RunConfig
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.request.resources import ResourceRequest
from ipserver.store.records import CheckpointRecord, Failure, SliceCommit
from ipserver.store.summary import Summary


@dataclass(frozen=True, slots=True)
class PackJob:
    """One attempt at a pack.

    Attributes:
        run_indices: Index in the grid of each run, in pack order.
        labels: Label of each run's parameterization, for file headers.
        ended: Run indices that are terminal already; they stay in the batch, masked.
        committed_steps: Updates already committed; what is trained again up to there is thrown away.
        summaries: Metrics in short of each run as committed, in pack order.
        checkpoints: Committed checkpoints, newest first; the newest valid one is resumed.
        artifact_root: Where files go, with the keys to it. So a job is handed on as an argument of a method:
            Ray shows people the environment and the construction of actors, but not that.
        dataset_sha256: Digest of the registered file that committed steps were trained on, if it is known.
        node: Name of the node that has room for it; "": it waits for one to be added.
    """

    experiment: str
    pack: str
    token: int
    config: PackConfig
    runs: tuple[RunConfig, ...]
    run_indices: tuple[int, ...]
    labels: tuple[str, ...]
    ended: frozenset[int]
    committed_steps: int
    summaries: tuple[Summary, ...]
    checkpoints: tuple[CheckpointRecord, ...]
    resources: ResourceRequest
    artifact_root: ArtifactRoot
    data_root: str | None
    dataset_sha256: str | None = None
    slice_seconds: float = 1.0
    checkpoint_seconds: float = 30.0
    node: str = ""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A slice of steps that were committed before: the same numbers came out, and were thrown away.

    Attributes:
        checkpoint: Checkpoint written in this slice, if any.
    """

    checkpoint: CheckpointRecord | None = None


@dataclass(frozen=True, slots=True)
class SliceReport:
    """What `advance()` returns: a slice to commit, one of committed steps, or a failure.

    Attributes:
        commit: The slice, if it holds anything new.
        repeated: The slice, if it holds nothing new.
        failure: What went wrong, if it failed.
        notices: Sentences for the experiment's events ("resumed at step 300").
        idle_seconds: How long the worker had waited for this slice since the last one.
    """

    commit: SliceCommit | None = None
    repeated: Repeated | None = None
    failure: Failure | None = None
    notices: tuple[str, ...] = ()
    idle_seconds: float = 0.0
