"""Where trainers run: the interface that the dispatcher knows.

A trainer is asked for slices one at a time; the answers arrive in order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ipcore.planning.machine import MachineProfile
from ipserver.request.resources import ResourceRequest
from ipserver.store.records import Failure
from ipserver.store.states import FailureReason
from ipserver.workers.jobs import PackJob, SliceReport

_MESSAGE_LIMIT, _TEXT_LIMIT = 1_000, 10_000


class Worker(Protocol):
    """A placed (or pending) trainer."""

    def advance(self, ended: Collection[int], *, checkpoint: bool = False) -> None:
        """Ask for the next slice; several may be queued.

        Args:
            ended: Run indices that are terminal by now; the trainer masks them.
            checkpoint: A short one, with a checkpoint at its end, whatever the time.
        """

    def alive(self) -> bool:
        """Whether its process is there; until then it waits for its resources, or is being started."""

    def started(self) -> bool:
        """Whether it has got ready for its pack, so is no longer pending."""

    def node(self) -> str:
        """Name of the node that it lies on; "" while it is pending."""

    def release(self) -> None:
        """It has done its work: end it, or keep its process for the next pack of the same resources."""

    def stop(self) -> None:
        """End it at once; what it had queued is dropped."""


class Executor(Protocol):
    """A place for trainers.

    Attributes:
        cluster: Name of the nodes as a whole: dispatchers with equal names share them.
    """

    cluster: str

    def nodes(self) -> Mapping[str, Mapping[str, float]]:
        """The nodes that are there, each by its name: resources ("cpus", "gpus", custom names)."""

    def profile(self, asked: ResourceRequest) -> MachineProfile | None:
        """What a worker of this size can do, if one has been measured."""

    def spare(self) -> Collection[tuple[ResourceRequest, str]]:
        """Sizes of the workers that are kept for a next pack, each with its node."""

    def start(self, job: PackJob) -> Worker:
        """Place a trainer on the node that the job names; it stays pending until its resources are free."""

    def ready(self, workers: Sequence[Worker], timeout: float) -> list[tuple[Worker, SliceReport]]:
        """Slices that have arrived, waiting up to `timeout` seconds for the first one.

        Raises:
            ClusterLost: Nothing that this process starts will be trained any more.
        """

    def trim(self, *, shared: bool = False) -> None:
        """End what is kept for a next pack: there is none now, and the cluster may shrink.

        Args:
            shared: Others have packs on the cluster too: nothing at all is kept.
        """

    def stuck(self, worker: Worker, late: bool) -> str:
        """Why this cluster starts no workers any more, as one shows that has not come; "": it may still come.

        Args:
            worker: Its process is not there, though its resources are free.
            late: It has not come for longer than it may take.
        """

    def close(self) -> None:
        """End all trainers."""


def worker_lost(message: str) -> SliceReport:
    """The report of a worker that died without one."""
    return SliceReport(failure=bounded(FailureReason.WORKER_LOST, message))


def bounded(reason: FailureReason, message: str, traceback: str = "", log_tail: str = "") -> Failure:
    """A failure of bounded size, since every listing of failed runs carries it.

    The start of a message and the end of a traceback or log say most.
    """
    return Failure(reason, message[:_MESSAGE_LIMIT], traceback[-_TEXT_LIMIT:], log_tail[-_TEXT_LIMIT:])
