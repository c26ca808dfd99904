"""A pack in a dispatcher's hands."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field

from ipserver.dispatch.executor import Worker
from ipserver.dispatch.jobs import ResourceRequest
from ipserver.dispatch.placement import Claim
from ipserver.dispatch.preemption import Holding
from ipserver.states import FailureReason
from ipserver.store.records import LeasedPack


@dataclass(slots=True, eq=False)
class Placed:
    """A leased pack with its worker.

    Attributes:
        ended: Runs known to be terminal, by index.
        slice_limit: Seconds after which a slice is taken for hung.
        since: When its worker last answered (or was seen waiting for resources).
        told: For every slice that is queued, the ended runs that its trainer was told of.
        draining: Whether it is to be given back after a slice with a checkpoint.
        committed: Last step that this attempt has committed; 0: none yet.
        idle_seconds: How long its worker has waited for slices.
    """

    pack: LeasedPack
    worker: Worker
    resources: ResourceRequest
    ended: frozenset[int]
    slice_limit: float
    since: float
    told: collections.deque[frozenset[int]] = field(default_factory=collections.deque)
    draining: bool = False
    committed: int = 0
    idle_seconds: float = 0.0

    @property
    def priority(self) -> int:
        """Of its experiment."""
        return self.pack.experiment.priority

    @property
    def key(self) -> tuple[str, str]:
        """Experiment and pack."""
        return self.pack.experiment.id, self.pack.id

    def fruitless(self, cause: FailureReason) -> Mapping[FailureReason, int]:
        """Per cause, attempts that failed since the last commit, if this one ends now for this cause."""
        if self.committed > self.pack.committed_steps:
            return {}
        earlier = self.pack.fruitless
        return {**earlier, cause: earlier.get(cause, 0) + 1}

    def holding(self) -> Holding:
        """What it takes, and whether it could make room for others."""
        return Holding(self.resources, self.priority, self.worker.node(), self.draining)

    def claim(self) -> Claim:
        """What it takes of the cluster."""
        return Claim(self.resources, self.worker.started())

    def drain(self) -> None:
        """Let it write a checkpoint with one slice more, which is its last here."""
        if not self.draining:
            self.draining = True
            self.advance(checkpoint=True)

    def advance(self, *, checkpoint: bool = False) -> None:
        """Queue a slice."""
        self.told.append(self.ended)
        self.worker.advance(self.ended, checkpoint=checkpoint)
