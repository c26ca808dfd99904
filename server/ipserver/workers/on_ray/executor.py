"""Trainers as Ray actors, placed on the nodes of a cluster."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ipcore.planning.machine import MachineProfile
from ipserver.errors import ClusterLost
from ipserver.request.resources import ResourceRequest
from ipserver.workers.executor import Worker
from ipserver.workers.jobs import PackJob, SliceReport
from ipserver.workers.kept import Kept
from ipserver.workers.on_ray.actor import Trainer
from ipserver.workers.on_ray.cluster import OwnRay, cluster_name, join, living_nodes, needed_for_workers
from ipserver.workers.on_ray.library import NodeAffinitySchedulingStrategy, ray
from ipserver.workers.on_ray.worker import Actor, RayWorker, end_actor, result_of

_log = logging.getLogger(__name__)


class RayExecutor:
    """Places trainers on a Ray cluster.

    Args:
        address: Cluster to join; "": start an own Ray on this machine, which `close` ends.
        cpus: Cores of the own Ray; None: all.
        ready_workers: Number of actors that the own Ray keeps ready for the next pack, started immediately.
            Not used on a cluster, whose nodes others use too.
        home: Folder for the files of the own Ray; None: a temporary folder.

    A dispatcher's machine must join a cluster before the dispatcher does: with `ray start --address HOST:6379
    --num-cpus 0` if it should not train. `close` does not end such a Ray.

    Raises:
        NotReady: There is no Ray at the address, or this machine is not a node of it.
        StartupError: There is no usable folder for the files of the own Ray.
    """

    def __init__(
        self, address: str = "", cpus: int | None = None, ready_workers: int = 0, home: Path | None = None
    ) -> None:
        # Time until a driver gives up a lost head. Most heads do not come back; if one does, the restarted
        # dispatcher joins it. (Ray's default of 60 s is for heads that keep their state in Redis.)
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "15")
        self._own = None if address else OwnRay(cpus, home)
        if address:
            join(address)
        self._actor: Any = ray.remote(max_restarts=0, max_task_retries=0)(Trainer)
        self.cluster = cluster_name()
        self._kept: Kept[Actor] = Kept(end_actor)
        # Workers whose processes were requested and may not have started.
        self._starting: list[RayWorker] = []
        # Measurement by the first actor of each size, or its pending reply.
        self._profiles: dict[tuple[float, float], MachineProfile | None] = {}
        self._measuring: dict[tuple[float, float], Any] = {}
        self._ready_workers = 0 if address else ready_workers
        # Replies of the ready workers that can train.
        self._warm: list[Any] = []
        if self._ready_workers:
            self._make_ready()

    def _make_ready(self) -> None:
        """Start workers for the first packs on the single node of the own Ray."""
        one = ResourceRequest()
        ((node, there),) = living_nodes().items()
        for _ in range(min(one.packs_within(there), self._ready_workers)):
            actor = self._new(one, node)
            self._warm.append(actor.handle.warm.remote())
            self._kept.keep(actor, one, node, starting=())

    def await_worker(self, seconds: float, rest: Callable[[float], object]) -> None:
        """Wait until a ready worker can train. Returns at once if none is kept ready.

        Args:
            seconds: Longest wait, after which the first pack waits for its worker instead.
            rest: Called between two checks with the seconds to wait; raises to end the waiting.
        """
        end = time.monotonic() + seconds
        while self._warm and time.monotonic() < end:
            done, _ = ray.wait(self._warm, num_returns=1, timeout=0.2)
            if done:
                break
            rest(0.0)
        self._warm.clear()

    def nodes(self) -> Mapping[str, Mapping[str, float]]:
        """Resources of each living node, by Ray's node id, under this service's names.

        Raises:
            ClusterLost: The own Ray has no node left, or Ray does not answer.
        """
        nodes = living_nodes()
        if self._own is not None and not nodes:
            raise ClusterLost("no node is left of the Ray that this process started")
        return nodes

    def profile(self, asked: ResourceRequest) -> MachineProfile | None:
        """Speed of a worker of this size, measured by the first such worker before its first pack."""
        size = (asked.cpus, asked.gpus)
        reference = self._measuring.get(size)
        if reference is not None and ray.wait([reference], timeout=0)[0]:
            self._measuring.pop(size, None)  # another thread may ask too
            try:
                self._profiles[size] = ray.get(reference)
                _log.info("a worker with %g cores, %g GPUs: %s", *size, self._profiles[size])
            except ray.exceptions.RayError:
                # The worker ended or failed to measure. Until another has measured, defaults are used.
                self._profiles.pop(size, None)
                _log.info("a worker with %g cores, %g GPUs was not measured", *size, exc_info=True)
        return self._profiles.get(size)

    def spare(self) -> Collection[tuple[ResourceRequest, str]]:
        """Size and node of each actor that is kept for a next pack."""
        return self._kept.sizes()

    def start(self, job: PackJob) -> Worker:
        """Give the pack to a kept actor or request a new one, which Ray creates when resources are free."""
        actor = self._kept.take(job.resources, job.node)
        if actor is not None:
            return RayWorker(actor, job, self._keep)
        worker = RayWorker(self._new(job.resources, job.node), job, self._keep)
        self._starting.append(worker)
        return worker

    def _new(self, asked: ResourceRequest, node: str) -> Actor:
        # Soft affinity: if the node is gone, Ray may use any other.
        where = NodeAffinitySchedulingStrategy(node, soft=True) if node else "DEFAULT"
        handle = self._actor.options(
            num_cpus=asked.cpus, num_gpus=asked.gpus, resources=dict(asked.custom), scheduling_strategy=where
        ).remote()
        # The first call: it shows that the process has started, before torch is loaded.
        actor = Actor(handle, handle.where.remote())
        size = (asked.cpus, asked.gpus)
        if size not in self._profiles:
            self._profiles[size] = None
            self._measuring[size] = handle.profile.remote(asked)
        return actor

    def ready(self, workers: Sequence[Worker], timeout: float) -> list[tuple[Worker, SliceReport]]:
        """Arrived slices. The first missing slice of a dead actor is reported as WORKER_LOST.

        Raises:
            ClusterLost: Ray considers this process dead.
        """
        heads = {w.pending[0]: w for w in workers if isinstance(w, RayWorker) and w.pending}
        if not heads:
            return []
        first, rest = ray.wait(list(heads), num_returns=1, timeout=timeout)
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0) if first and rest else ([], rest)
        arrived: list[tuple[Worker, SliceReport]] = []
        for reference in [*first, *more]:
            worker = heads[reference]
            worker.pending.popleft()
            arrived.append((worker, result_of(reference)))
        return arrived

    def trim(self, *, shared: bool = False) -> None:
        """End kept actors except those that should stay ready."""
        self._kept.trim(0 if shared else self._ready_workers)

    def stuck(self, worker: Worker, late: bool) -> str:
        """Why the own Ray starts no workers any more; "" on a cluster, whose resources others may use."""
        if self._own is None or worker.alive():
            return ""
        gone = [place for place in needed_for_workers() if not place.exists()]
        if gone:
            return f"{gone[0]} is gone, which Ray needs to start workers"
        return "Ray does not start it" if late else ""

    def _keep(self, worker: RayWorker) -> None:
        self._starting = [it for it in self._starting if not (it.stopped or it.alive())]
        starting = {it.job.node for it in self._starting}
        self._kept.keep(worker.actor, worker.job.resources, worker.node(), starting)

    def close(self) -> None:
        """Disconnect from the cluster and end the own Ray, if any. The actors end too."""
        if self._own is not None:
            self._own.end()
        else:
            ray.shutdown()
