"""A pack in a dispatcher's hands."""

from __future__ import annotations

import collections
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ipserver.request.resources import ResourceRequest
from ipserver.store.records.packs import LeasedPack
from ipserver.store.states import FailureReason
from ipserver.workers.executor import Worker


@dataclass(slots=True, eq=False)
class Placed:
    """A leased pack with its worker.

    Attributes:
        ended: Indices of runs known to be terminal.
        slice_limit: Seconds after which a slice counts as hung.
        since: When its worker last answered or was seen loading its pack.
        asked: When its worker was requested, or last seen waiting for a node or alive.
        told: For every queued slice, the ended runs that were sent to its trainer.
        draining: Whether the pack is given back after a slice with a checkpoint.
        committed: Last step committed by this attempt; 0: none.
        idle_seconds: Total time that its worker waited for slices, in seconds.
        node: Name of its node as recorded in the store; "": it waits for a node to be added.
        arrived: When its last slice arrived.
        sliced_ns: When its last slice was handled, or it was started, in ns since 1970-01-01 UTC.
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
    arrived: float = field(init=False)
    sliced_ns: int = field(default_factory=time.time_ns)

    def __post_init__(self) -> None:
        self.asked = self.arrived = self.since

    @property
    def key(self) -> tuple[str, str]:
        """Experiment and pack."""
        return self.pack.experiment.id, self.pack.id

    @property
    def lease(self) -> tuple[str, str, int]:
        """Experiment, pack and token."""
        return (*self.key, self.pack.token)

    def fruitless(self, cause: FailureReason) -> Mapping[FailureReason, int]:
        """Failed attempts since the last commit, per cause, counting this one as failed for `cause`."""
        if self.committed > self.pack.committed_steps:
            return {}
        earlier = self.pack.fruitless
        return {**earlier, cause: earlier.get(cause, 0) + 1}

    def drain(self) -> None:
        """Queue one more slice, with a checkpoint; it is the last slice of this attempt."""
        if not self.draining:
            self.draining = True
            self.advance(checkpoint=True)

    def advance(self, *, checkpoint: bool = False) -> None:
        """Queue a slice."""
        self.told.append(self.ended)
        self.worker.advance(self.ended, checkpoint=checkpoint)
