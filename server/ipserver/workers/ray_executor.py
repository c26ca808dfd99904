"""Trainers as Ray actors: the only file that knows Ray.

Actors are not detached: they die with this process, and nothing that Ray says is taken for truth.
"""

from __future__ import annotations

import collections
import logging
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipcore.planning.machine import MachineProfile
from ipserver.environment.listener import require_listener
from ipserver.environment.settings import split_address
from ipserver.environment.surroundings import forget_other_rays
from ipserver.errors import ClusterLost, NotReady
from ipserver.request.resources import ResourceRequest
from ipserver.store.records import Failure
from ipserver.store.states import FailureReason
from ipserver.workers.executor import Worker, bounded, worker_lost
from ipserver.workers.jobs import PackJob, SliceReport
from ipserver.workers.kept import Kept
from ipserver.workers.own_ray import ending, own_token, ray_folder, surrounded

# Ray reads these when it is imported: no reports to its makers, and actors without a GPU leave the
# visible devices alone (Ray warns about its old default otherwise).
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Of a Ray of its own: workers yield to the API and to the dispatcher, but not to the forwarder (which has 19;
# Ray's usual 15 is too near).
os.environ.setdefault("RAY_worker_niceness", "5")
# Below `uv run` Ray would start workers by `uv run` too, in a copy of the working folder.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from ipserver.workers.trainer import PackTrainer

_log = logging.getLogger(__name__)
# Slices travel as plain replies; the object store is hardly used.
_OBJECT_STORE_BYTES = 128 << 20
_ORPHAN_SECONDS = 0.5
# Of each of Ray's own logs, one older one is kept.
_LOG_BYTES = 10_000_000
# Ray's words of an actor whose owner is gone. The owner is this process, so no other actor would live either:
# to try on would use up the attempts of every pack.
_OWNER_DIED = "its owner has died"


class RayExecutor:
    """Places trainers on a Ray cluster.

    Args:
        address: Cluster to join; "": start a Ray of its own on this machine, ended by `close`.
        cpus: Cores of a Ray of its own; None: all.
        ready_workers: On a Ray of its own, actors that are kept ready for the next pack though none waits,
            and started now for the first. (A cluster's nodes are for others too.)
        home: Folder for the files of a Ray of its own; None: a temporary folder.

    Before a dispatcher joins a cluster, its machine must: with `ray start --address HOST:6379 --num-cpus 0`
    where nothing is to be trained. Such a Ray is left alone by `close`.

    Raises:
        NotReady: No Ray at the address, or this machine is not a node of it.
        StartupError: There is no place for the files of a Ray of its own.
    """

    def __init__(
        self, address: str = "", cpus: int | None = None, ready_workers: int = 0, home: Path | None = None
    ) -> None:
        # How long a driver stays when the head is gone. Most heads do not come back; after one that does,
        # another dispatcher starts (Ray's own 60 s are for those that keep their state in Redis).
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "15")
        self._own = None if address else _OwnRay(cpus, home)
        if address:
            _join(address)
        self._actor: Any = ray.remote(max_restarts=0, max_task_retries=0)(_Trainer)
        self.cluster = _cluster()
        self._kept: Kept[_Actor] = Kept(_end)
        # Workers whose processes were asked for and may not be there yet.
        self._starting: list[_RayWorker] = []
        # What was measured by the first actor of each size, or its answer to come.
        self._profiles: dict[tuple[float, float], MachineProfile | None] = {}
        self._measuring: dict[tuple[float, float], Any] = {}
        self._ready_workers = 0 if address else ready_workers
        if self._ready_workers:
            self._make_ready()

    def _make_ready(self) -> None:
        """Start workers for the first packs: a Ray of its own has one node then."""
        one = ResourceRequest()
        ((node, there),) = _nodes().items()
        for _ in range(min(one.packs_within(there), self._ready_workers)):
            actor = self._new(one, node)
            actor.handle.warm.remote()
            self._kept.keep(actor, one, node, starting=())

    def nodes(self) -> Mapping[str, Mapping[str, float]]:
        """Resources of each node that is alive, by Ray's id of it, under this service's names.

        Raises:
            ClusterLost: No node is left of a Ray of its own, or Ray does not answer.
        """
        nodes = _nodes()
        if self._own is not None and not nodes:
            raise ClusterLost("no node is left of the Ray that this process started")
        return nodes

    def profile(self, asked: ResourceRequest) -> MachineProfile | None:
        """What a worker of this size can do: the first one measures it before its first pack."""
        size = (asked.cpus, asked.gpus)
        reference = self._measuring.get(size)
        if reference is not None and ray.wait([reference], timeout=0)[0]:
            del self._measuring[size]
            try:
                self._profiles[size] = ray.get(reference)
                _log.info("a worker with %g cores, %g GPUs: %s", *size, self._profiles[size])
            except ray.exceptions.RayError:
                # It was ended, or could not measure: until another one has, what is usual is taken for true.
                del self._profiles[size]
                _log.info("a worker with %g cores, %g GPUs was not measured", *size, exc_info=True)
        return self._profiles.get(size)

    def spare(self) -> Collection[tuple[ResourceRequest, str]]:
        """Sizes of the actors that have done their pack, each with its node."""
        return self._kept.sizes()

    def start(self, job: PackJob) -> Worker:
        """Give the pack to a kept actor, or ask for a new one; Ray creates it when its resources are free."""
        actor = self._kept.take(job.resources, job.node)
        if actor is not None:
            return _RayWorker(actor, job, self._keep)
        worker = _RayWorker(self._new(job.resources, job.node), job, self._keep)
        self._starting.append(worker)
        return worker

    def _new(self, asked: ResourceRequest, node: str) -> _Actor:
        # Soft: if the node is gone, any other will do.
        where = NodeAffinitySchedulingStrategy(node, soft=True) if node else "DEFAULT"
        handle = self._actor.options(
            num_cpus=asked.cpus, num_gpus=asked.gpus, resources=dict(asked.custom), scheduling_strategy=where
        ).remote()
        # Asked first: it tells that the process is there, before torch is loaded.
        actor = _Actor(handle, handle.where.remote())
        size = (asked.cpus, asked.gpus)
        if size not in self._profiles:
            self._profiles[size] = None
            self._measuring[size] = handle.profile.remote(asked)
        return actor

    def ready(self, workers: Sequence[Worker], timeout: float) -> list[tuple[Worker, SliceReport]]:
        """Slices that have arrived; a dead actor's first missing slice says WORKER_LOST.

        Raises:
            ClusterLost: Ray takes this process for dead.
        """
        heads = {w.pending[0]: w for w in workers if isinstance(w, _RayWorker) and w.pending}
        if not heads:
            return []
        first, rest = ray.wait(list(heads), num_returns=1, timeout=timeout)
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0) if first and rest else ([], rest)
        arrived: list[tuple[Worker, SliceReport]] = []
        for reference in [*first, *more]:
            worker = heads[reference]
            worker.pending.popleft()
            arrived.append((worker, _result(reference)))
        return arrived

    def trim(self, *, shared: bool = False) -> None:
        """End the actors that are kept, but for those that are to be ready."""
        self._kept.trim(0 if shared else self._ready_workers)

    def stuck(self, worker: Worker, late: bool) -> str:
        """Why a Ray of its own starts no workers any more; resources of a cluster may have other users."""
        if self._own is None or worker.alive():
            return ""
        gone = [place for place in _needed_for_workers() if not place.exists()]
        if gone:
            return f"{gone[0]} is gone, which Ray needs to start workers"
        return "Ray does not start it" if late else ""

    def _keep(self, worker: _RayWorker) -> None:
        self._starting = [it for it in self._starting if not (it.stopped or it.alive())]
        starting = {it.job.node for it in self._starting}
        self._kept.keep(worker.actor, worker.job.resources, worker.node(), starting)

    def close(self) -> None:
        """Leave the cluster (and end a Ray of its own); actors end with it."""
        if self._own is not None:
            self._own.end()
        else:
            ray.shutdown()


class _OwnRay:
    """A Ray on this machine that belongs to this process; its files are removed at its end."""

    def __init__(self, cpus: int | None, home: Path | None) -> None:
        self._folder = ray_folder(home)
        if unused := forget_other_rays(os.environ):
            _log.info("not used for a Ray of its own: %s", ", ".join(unused))
        try:
            # Any token in the environment is meant for a cluster.
            for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
                os.environ.pop(name, None)
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(own_token(home or self._folder.path))
            os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(_LOG_BYTES))
            os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")
            with surrounded(self._folder.path, shielded=True) as self._processes:
                ray.init(
                    address="local",
                    namespace="iplab",
                    num_cpus=cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _node_ip_address="127.0.0.1",
                    # Ray lets everybody into its folder, so it gets one within ours.
                    _temp_dir=str(self._folder.path / "r"),
                )
        except BaseException:
            self._folder.remove()
            raise

    def end(self) -> None:
        """End all of its processes and remove its files."""
        with ending(self._processes, lambda: not ray.is_initialized()):
            ray.shutdown()
        self._folder.remove()


@dataclass(eq=False, slots=True)
class _Actor:
    """An actor's handle (which has no useful type: methods exist only by name), and its first answer."""

    handle: Any
    where: Any


def _end(actor: _Actor) -> None:
    ray.kill(actor.handle, no_restart=True)


def _needed_for_workers() -> list[Path]:
    """Where the raylet of this machine listens, and where its workers write."""
    context = ray.get_runtime_context()
    session = Path(context.get_temp_dir()) / context.get_session_name()
    return [session / "sockets" / "raylet", session / "sockets" / "plasma_store", session / "logs"]


def _cluster() -> str:
    """Name of the cluster that this process is a driver of: no other has the same."""
    return str(ray.get_runtime_context().get_session_name())


def _nodes() -> dict[str, dict[str, float]]:
    """Resources of each node that is alive, by its id, under this service's names."""
    names = {"CPU": "cpus", "GPU": "gpus"}
    internal = ("node:", "object_store_memory", "memory", "accelerator_type:")
    try:
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
    except ray.exceptions.RayError as error:
        raise ClusterLost(f"Ray does not answer: {error}") from error
    return {
        node["NodeID"]: {
            names.get(name, name): float(amount)
            for name, amount in node["Resources"].items()
            if not name.startswith(internal)
        }
        for node in nodes
        if node["Alive"]
    }


def _join(address: str) -> None:
    """Become a driver of a cluster that this machine is a node of."""
    if address != "auto":
        # Ray itself would try for minutes.
        host, port = split_address(address)
        require_listener("IPLAB_RAY_ADDRESS", host, int(port))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="iplab-join-") as empty,
            surrounded(Path(empty), shielded=False),
        ):
            ray.init(address=address, namespace="iplab", log_to_driver=False)
    except Exception as error:
        # Ray raises RuntimeError, ConnectionError, ValueError and bare Exception for what is no cluster, for
        # another Ray version or token, and for a machine that is no node.
        ray.shutdown()
        text = " ".join(str(error).split())[:500]
        raise NotReady(
            f"IPLAB_RAY_ADDRESS: cannot join the Ray cluster {address!r}: {text}; this machine must be a "
            "node of it (`ray start --address HOST:6379 --num-cpus 0`), with its version of Ray; where it "
            "asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from error


class _Trainer:
    """The actor: a PackTrainer, imported where it runs so that the dispatcher never loads torch."""

    def __init__(self) -> None:
        logging.getLogger().setLevel(logging.INFO)
        self._trainer: PackTrainer | None = None
        self._refused: SliceReport | None = None
        threading.Thread(target=_end_with, args=(os.getppid(),), name="orphan", daemon=True).start()

    def warm(self) -> None:
        from ipserver.workers.trainer import warm  # noqa: PLC0415 - see the docstring

        warm()

    def profile(self, asked: ResourceRequest) -> MachineProfile:
        from ipserver.workers.trainer import measure  # noqa: PLC0415 - see the docstring

        return measure(asked)

    def where(self) -> str:
        """The id of the node that this is on."""
        return str(ray.get_runtime_context().get_node_id())

    def load(self, job: PackJob) -> None:
        """Get ready for a pack.

        An error is kept for the first slice: its report is where the dispatcher looks for what went wrong.
        """
        self._trainer = None  # the last pack's memory is free before the next one's is taken
        self._refused = None
        try:
            from ipserver.workers.trainer import PackTrainer  # noqa: PLC0415 - see the docstring

            self._trainer = PackTrainer(job)
        except Exception as error:
            _log.exception("pack %s cannot be trained here", job.pack)
            self._refused = SliceReport(failure=_refusal(error))

    def advance(self, ended: Collection[int], checkpoint: bool) -> SliceReport:
        if self._refused is not None:
            return self._refused
        if self._trainer is None:
            raise RuntimeError("a slice was asked for before a pack was given")
        return self._trainer.advance(ended, checkpoint=checkpoint)


def _refusal(error: Exception) -> Failure:
    """What a worker reports that could not even begin, as where torch cannot be imported."""
    try:
        from ipserver.workers.trainer import failure  # noqa: PLC0415 - never in the dispatcher
    except Exception:
        # The import is what failed. Another worker of this installation would meet the same.
        text = "".join(traceback.format_exception(error))
        return bounded(FailureReason.TRAINING_ERROR, f"{type(error).__name__}: {error}", text)
    return failure(error)


def _end_with(raylet: int) -> None:
    """End this process when the raylet that started it is gone.

    Left to itself it would go on for a minute, with its memory and its cores, beside whoever takes its place.
    """
    while os.getppid() == raylet:
        time.sleep(_ORPHAN_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


class _RayWorker:
    def __init__(self, actor: _Actor, job: PackJob, keep: Callable[[_RayWorker], None]) -> None:
        self.actor = actor
        self.job = job
        self.stopped = False
        self._keep = keep
        self._loaded: Any = actor.handle.load.remote(job)
        self._node = ""
        self._started = False
        self.pending: collections.deque[Any] = collections.deque()

    def advance(self, ended: Collection[int], *, checkpoint: bool = False) -> None:
        self.pending.append(self.actor.handle.advance.remote(frozenset(ended), checkpoint))

    def alive(self) -> bool:
        return bool(self.node())

    def started(self) -> bool:
        if not self._started:
            self._started = bool(ray.wait([self._loaded], timeout=0)[0])
        return self._started

    def node(self) -> str:
        if not self._node and ray.wait([self.actor.where], timeout=0)[0]:
            try:
                self._node = ray.get(self.actor.where)
            except ray.exceptions.RayError:
                self._node = "lost"  # its next slice says how
        return self._node

    def release(self) -> None:
        if self.pending:
            self.stop()  # it still trains: the pack ended early, by cancellation
        else:
            self._keep(self)

    def stop(self) -> None:
        self.pending.clear()
        self.stopped = True
        _end(self.actor)


def _result(reference: Any) -> SliceReport:
    try:
        report: SliceReport = ray.get(reference)
    except ray.exceptions.OutOfMemoryError as error:
        return SliceReport(failure=bounded(FailureReason.OUT_OF_MEMORY, str(error)))
    except ray.exceptions.RayActorError as error:
        if _OWNER_DIED in str(error):
            raise ClusterLost("Ray takes this process for dead: the raylet of its machine is gone") from error
        return worker_lost(str(error).strip() or "the worker process died")
    except ray.exceptions.RayError as error:
        _log.exception("a slice was lost")
        return worker_lost(f"{type(error).__name__}: {error}")
    return report
