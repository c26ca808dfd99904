"""What the dispatcher hands to a trainer and gets back. Plain values: they cross a process boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ipcore.config import PackConfig, RunConfig
from ipserver.artifacts import ArtifactRoot
from ipserver.store.records import CheckpointRecord, Failure, SliceCommit, Summary
from ipserver.store.shapes import amounts_of


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """What one pack may use.

    Attributes:
        cpus: Cores, > 0; threads are this, rounded up.
        gpus: 0: the CPU.
        custom: Further resources by name.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, shape: str) -> ResourceRequest:
        """What a shape asks for.

        >>> ResourceRequest.of('{"cpus":2.0,"disk":1.0}')
        ResourceRequest(cpus=2.0, gpus=0.0, custom={'disk': 1.0})
        """
        custom = dict(amounts_of(shape))
        return cls(custom.pop("cpus", 0.0), custom.pop("gpus", 0.0), custom)

    def amounts(self) -> dict[str, float]:
        """What is asked for by name ("cpus", "gpus", custom names); nothing that is 0."""
        everything = {"cpus": self.cpus, "gpus": self.gpus, **self.custom}
        return {name: amount for name, amount in everything.items() if amount}

    def packs_within(self, there: Mapping[str, float]) -> int:
        """How many such packs fit into what one node has.

        Amounts are multiples of 0.0001, which doubles only come near. A part of a GPU lies on one device.

        >>> ResourceRequest(cpus=0.1).packs_within({"cpus": 0.3})
        3
        >>> ResourceRequest(gpus=0.6).packs_within({"cpus": 8.0, "gpus": 2.0})
        2
        """
        return min(
            int(there.get(name, 0.0) + 1e-6) * int(1.0 / amount + 1e-6)
            if name == "gpus" and amount < 1
            else int(there.get(name, 0.0) / amount + 1e-6)
            for name, amount in self.amounts().items()
        )


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
