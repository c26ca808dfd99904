"""The interface between the dispatcher and the places where trainers run.

A trainer is asked for slices one at a time; the answers arrive in order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ipcore.planning.machine import MachineProfile
from ipserver.environment.masking import without_secrets
from ipserver.request.resources import ResourceRequest
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from ipserver.workers.jobs import PackJob, SliceReport

_MESSAGE_LIMIT, _TEXT_LIMIT = 1_000, 10_000


class Worker(Protocol):
    """A placed (or pending) trainer."""

    def advance(self, ended: Collection[int], *, checkpoint: bool = False) -> None:
        """Request the next slice; several requests may be queued.

        Args:
            ended: Indices of terminal runs; the trainer masks them.
            checkpoint: Make the slice short and write a checkpoint at its end, due or not.
        """

    def alive(self) -> bool:
        """Whether its process has started. Before that, it waits for resources or is being started."""

    def started(self) -> bool:
        """Whether it has loaded its pack and is no longer pending."""

    def node(self) -> str:
        """Name of its node; "" while it is pending."""

    def release(self) -> None:
        """End a worker that has done its work, or keep its process for a pack with the same resources."""

    def stop(self) -> None:
        """End it at once and drop its queued slices."""


class Executor(Protocol):
    """A place where trainers run.

    Attributes:
        cluster: Name of the cluster; dispatchers with equal names share its nodes.
    """

    cluster: str

    def nodes(self) -> Mapping[str, Mapping[str, float]]:
        """Resources ("cpus", "gpus", custom names) of the present nodes, by node name."""

    def profile(self, asked: ResourceRequest) -> MachineProfile | None:
        """Measured speed of a worker of this size; None: not measured yet."""

    def spare(self) -> Collection[tuple[ResourceRequest, str]]:
        """Size and node of each worker that is kept for a next pack."""

    def start(self, job: PackJob) -> Worker:
        """Place a trainer on the job's node. It is pending until its resources are free."""

    def ready(self, workers: Sequence[Worker], timeout: float) -> list[tuple[Worker, SliceReport]]:
        """Arrived slices; waits up to `timeout` seconds for the first.

        Raises:
            ClusterLost: The cluster no longer trains for this process.
        """

    def trim(self, *, shared: bool = False) -> None:
        """End workers kept for a next pack when none waits, so that the cluster may shrink.

        Args:
            shared: Whether other dispatchers have packs on the cluster; then no worker at all is kept.
        """

    def stuck(self, worker: Worker, late: bool) -> str:
        """Why the cluster does not start a pending worker any more; "" if it may still start.

        Args:
            worker: A worker whose process has not started although its resources are free.
            late: Whether it has been pending for longer than allowed.
        """

    def close(self) -> None:
        """End all trainers."""


def worker_lost(message: str, details: str = "") -> SliceReport:
    """The report for a worker that died without sending one; `details` stand where tracebacks do."""
    return SliceReport(failure=bounded(FailureReason.WORKER_LOST, message, details))


def bounded(reason: FailureReason, message: str, traceback: str = "", log_tail: str = "") -> Failure:
    """A failure of bounded size, because every listing of failed runs contains it.

    Keeps the start of the message and the end of the traceback and log, the most informative parts. Masks
    passwords and keys that libraries may have quoted, because readers of the project and MLflow see failures.
    """
    message, traceback, log_tail = map(without_secrets, (message, traceback, log_tail))
    return Failure(reason, message[:_MESSAGE_LIMIT], traceback[-_TEXT_LIMIT:], log_tail[-_TEXT_LIMIT:])
