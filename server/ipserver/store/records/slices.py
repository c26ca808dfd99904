"""Slices: the changes that a worker made, and the result of their commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ipserver.store.records.files import CheckpointRecord, NewArtifact
from ipserver.store.states import RunState
from ipserver.store.summary import Summary


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
