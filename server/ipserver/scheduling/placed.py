"""A pack in a dispatcher's hands."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field

from ipserver.request.resources import ResourceRequest
from ipserver.store.records import LeasedPack
from ipserver.store.states import FailureReason
from ipserver.workers.executor import Worker


@dataclass(slots=True, eq=False)
class Placed:
    """A leased pack with its worker.

    Attributes:
        ended: Runs known to be terminal, by index.
        slice_limit: Seconds after which a slice is taken for hung.
        since: When its worker last answered (or was seen getting ready).
        asked: When its worker was asked for (or last seen waiting for a node, or alive).
        told: For every slice that is queued, the ended runs that its trainer was told of.
        draining: Whether it is to be given back after a slice with a checkpoint.
        committed: Last step that this attempt has committed; 0: none yet.
        idle_seconds: How long its worker has waited for slices.
        node: Name of the node that it lies on as the store knows; "": it waits for one to be added.
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
    node: str = ""
    asked: float = field(init=False)

    def __post_init__(self) -> None:
        self.asked = self.since

    @property
    def key(self) -> tuple[str, str]:
        """Experiment and pack."""
        return self.pack.experiment.id, self.pack.id

    @property
    def lease(self) -> tuple[str, str, int]:
        """Experiment, pack and token."""
        return (*self.key, self.pack.token)

    def fruitless(self, cause: FailureReason) -> Mapping[FailureReason, int]:
        """Per cause, attempts that failed since the last commit, if this one ends now for this cause."""
        if self.committed > self.pack.committed_steps:
            return {}
        earlier = self.pack.fruitless
        return {**earlier, cause: earlier.get(cause, 0) + 1}

    def drain(self) -> None:
        """Let it write a checkpoint with one slice more, which is its last here."""
        if not self.draining:
            self.draining = True
            self.advance(checkpoint=True)

    def advance(self, *, checkpoint: bool = False) -> None:
        """Queue a slice."""
        self.told.append(self.ended)
        self.worker.advance(self.ended, checkpoint=checkpoint)
