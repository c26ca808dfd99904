"""Trainers as Ray actors: the only file that imports Ray.

Actors are not detached: they die with this process. The store, not Ray, is the source of truth.
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
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from ipserver.workers.executor import Worker, bounded, worker_lost
from ipserver.workers.jobs import PackJob, SliceReport
from ipserver.workers.kept import Kept
from ipserver.workers.own_ray import end_left_in, ending, own_token, ray_folder, surrounded

# Ray reads these variables at import: usage statistics are off, and actors without a GPU do not change the
# visible devices (otherwise Ray warns about its old default).
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Niceness of workers of the dispatcher's own Ray: they yield to the API and the dispatcher, but not to the
# forwarder, which has 19 (Ray's default of 15 is too close to that).
os.environ.setdefault("RAY_worker_niceness", "5")
# Under `uv run`, Ray would start workers by `uv run` too, in a copy of the working folder.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from ipserver.workers.trainer import PackTrainer

_log = logging.getLogger(__name__)
# Slices are returned as small replies, so the object store is hardly used.
_OBJECT_STORE_BYTES = 128 << 20
_ORPHAN_SECONDS = 0.5
# Number of older files kept of each of Ray's logs.
_LOG_BYTES = 10_000_000
# Ray's message for an actor whose owner is gone. The owner is this process, so other actors would die too,
# and further tries would use up the attempts of every pack.
_OWNER_DIED = "its owner has died"


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
        self._own = None if address else _OwnRay(cpus, home)
        if address:
            _join(address)
        self._actor: Any = ray.remote(max_restarts=0, max_task_retries=0)(_Trainer)
        self.cluster = _cluster()
        self._kept: Kept[_Actor] = Kept(_end)
        # Workers whose processes were requested and may not have started.
        self._starting: list[_RayWorker] = []
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
        ((node, there),) = _nodes().items()
        for _ in range(min(one.packs_within(there), self._ready_workers)):
            actor = self._new(one, node)
            self._warm.append(actor.handle.warm.remote())
            self._kept.keep(actor, one, node, starting=())

    def await_worker(self, seconds: float, rest: Callable[[float], object]) -> None:
        """Wait until a ready worker can train; not at all where none is kept ready.

        Args:
            seconds: Longest wait, after which the first pack waits for its worker instead.
            rest: Called between two looks with a time to wait; raises to end the waiting.
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
        nodes = _nodes()
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
            return _RayWorker(actor, job, self._keep)
        worker = _RayWorker(self._new(job.resources, job.node), job, self._keep)
        self._starting.append(worker)
        return worker

    def _new(self, asked: ResourceRequest, node: str) -> _Actor:
        # Soft affinity: if the node is gone, Ray may use any other.
        where = NodeAffinitySchedulingStrategy(node, soft=True) if node else "DEFAULT"
        handle = self._actor.options(
            num_cpus=asked.cpus, num_gpus=asked.gpus, resources=dict(asked.custom), scheduling_strategy=where
        ).remote()
        # The first call: it shows that the process has started, before torch is loaded.
        actor = _Actor(handle, handle.where.remote())
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
        """End kept actors except those that should stay ready."""
        self._kept.trim(0 if shared else self._ready_workers)

    def stuck(self, worker: Worker, late: bool) -> str:
        """Why the own Ray starts no workers any more; "" on a cluster, whose resources others may use."""
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
        """Disconnect from the cluster and end the own Ray, if any. The actors end too."""
        if self._own is not None:
            self._own.end()
        else:
            ray.shutdown()


class _OwnRay:
    """A Ray on this machine that belongs to this process. Its files are removed when it ends."""

    def __init__(self, cpus: int | None, home: Path | None) -> None:
        self._folder = ray_folder(home)
        if unused := forget_other_rays(os.environ):
            _log.info("not used for a Ray of its own: %s", ", ".join(unused))
        try:
            # A token in the environment is meant for a cluster.
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
                    # Ray makes its folder accessible to everyone, so it is placed inside our private folder.
                    _temp_dir=str(self._folder.path / "r"),
                )
        except BaseException:
            self._folder.remove()
            raise

    def end(self) -> None:
        """End all of its processes and remove its files."""
        with ending(self._processes, lambda: not ray.is_initialized()):
            ray.shutdown()
        end_left_in(self._folder.path)
        self._folder.remove()


@dataclass(eq=False, slots=True)
class _Actor:
    """An actor's handle (untyped: its methods exist only by name) and the reply to its first call."""

    handle: Any
    where: Any


def _end(actor: _Actor) -> None:
    ray.kill(actor.handle, no_restart=True)


def _needed_for_workers() -> list[Path]:
    """Paths that Ray needs to start workers: the raylet's socket and the workers' log folder."""
    context = ray.get_runtime_context()
    session = Path(context.get_temp_dir()) / context.get_session_name()
    return [session / "sockets" / "raylet", session / "sockets" / "plasma_store", session / "logs"]


def _cluster() -> str:
    """Unique name of the cluster that this process is a driver of."""
    return str(ray.get_runtime_context().get_session_name())


def _nodes() -> dict[str, dict[str, float]]:
    """Resources of each living node, by its id, under this service's names."""
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
        # Ray itself would retry for minutes.
        host, port = split_address(address)
        require_listener("IPLAB_RAY_ADDRESS", host, int(port))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="iplab-join-") as empty,
            surrounded(Path(empty), shielded=False),
        ):
            ray.init(address=address, namespace="iplab", log_to_driver=False)
    except Exception as error:
        # Ray raises RuntimeError, ConnectionError, ValueError or a bare Exception if there is no cluster, if
        # its version or token differs, or if this machine is not a node.
        ray.shutdown()
        text = " ".join(str(error).split())[:500]
        raise NotReady(
            f"IPLAB_RAY_ADDRESS: cannot join the Ray cluster {address!r}: {text}; this machine must be a "
            "node of it (`ray start --address HOST:6379 --num-cpus 0`), with its version of Ray; where it "
            "asks for a token, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from error


class _Trainer:
    """The actor: a PackTrainer, imported in the worker so that the dispatcher never loads torch."""

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
        """Id of the actor's node."""
        return str(ray.get_runtime_context().get_node_id())

    def load(self, job: PackJob) -> None:
        """Load a pack.

        An error is kept and reported with the first slice, where the dispatcher expects failures.
        """
        self._trainer = None  # free the last pack's memory before the next is allocated
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
            raise RuntimeError("a slice was requested before a pack was loaded")
        return self._trainer.advance(ended, checkpoint=checkpoint)


def _refusal(error: Exception) -> Failure:
    """Failure of a worker that could not load its pack, for example because torch cannot be imported."""
    try:
        from ipserver.workers.trainer import failure  # noqa: PLC0415 - never in the dispatcher
    except Exception:
        # The import failed. It would fail in every worker of this installation.
        text = "".join(traceback.format_exception(error))
        return bounded(FailureReason.TRAINING_ERROR, f"{type(error).__name__}: {error}", text)
    return failure(error)


def _end_with(raylet: int) -> None:
    """End this process when the raylet that started it is gone.

    Otherwise it would keep its memory and cores for a minute, beside the worker that replaces it.
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
                self._node = "lost"  # its next slice reports the failure
        return self._node

    def release(self) -> None:
        if self.pending:
            self.stop()  # it still trains: the pack was cancelled
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
            raise ClusterLost("Ray considers this process dead: the raylet of its machine is gone") from error
        return worker_lost(str(error).strip() or "the worker process died")
    except ray.exceptions.RayError as error:
        _log.exception("a slice was lost")
        return worker_lost(f"{type(error).__name__}: {error}")
    return report
