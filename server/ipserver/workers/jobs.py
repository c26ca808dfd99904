"""Jobs for trainers and their reports, as plain values that are sent between processes."""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.config import PackConfig, RunConfig
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.request.resources import ResourceRequest
from ipserver.store.records.files import CheckpointRecord
from ipserver.store.records.runs import Failure
from ipserver.store.records.slices import SliceCommit
from ipserver.store.summary import Summary


@dataclass(frozen=True, slots=True)
class PackJob:
    """One attempt at a pack.

    Attributes:
        run_indices: Index in the grid of each run, in pack order.
        labels: Label of each run's parameterization, for file headers.
        ended: Indices of terminal runs; they stay in the batch, masked.
        committed_steps: Number of committed updates; results of repeated updates up to there are discarded.
        summaries: Committed summary of each run, in pack order.
        checkpoints: Committed checkpoints, newest first; the newest valid one is resumed.
        artifact_root: Root for files, with its credentials. Because of these, a job is passed as a method's
            argument, which Ray does not display, unlike the environment and constructor of actors.
        dataset_sha256: Digest of the registered file that committed steps were trained on, if known.
        node: Name of the node with room for it; "": it waits for a node to be added.
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
    """A slice of repeated steps that were already committed; its results were discarded.

    Attributes:
        checkpoint: Checkpoint written in this slice, if any.
    """

    checkpoint: CheckpointRecord | None = None


@dataclass(frozen=True, slots=True)
class SliceReport:
    """Result of `advance()`: a slice to commit, a repeated slice, or a failure.

    Attributes:
        commit: The slice, if it holds new steps.
        repeated: The slice, if it repeats committed steps.
        failure: The failure, if there was one.
        notices: Messages for the experiment's events ("resumed at step 300").
        idle_seconds: Seconds that the worker waited between the last slice and this one.
    """

    commit: SliceCommit | None = None
    repeated: Repeated | None = None
    failure: Failure | None = None
    notices: tuple[str, ...] = ()
    idle_seconds: float = 0.0
