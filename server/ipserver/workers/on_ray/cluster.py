"""The cluster that this process is a driver of: a Ray of its own, or one that it joins."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ipserver.environment.addresses import split_address
from ipserver.environment.listener import require_listener
from ipserver.environment.surroundings import forget_other_rays, forget_other_torches
from ipserver.errors import ClusterLost, NotReady
from ipserver.workers.on_ray.folder import own_token, ray_folder
from ipserver.workers.on_ray.library import ray, ray_constants, ray_parameter, ray_services
from ipserver.workers.on_ray.processes import end_left_in, ending, surrounded

_log = logging.getLogger(__name__)

# Slices are returned as small replies, so the object store is hardly used.
_OBJECT_STORE_BYTES = 128 << 20

# Each of Ray's logs is rotated at this size; one older file of it is kept.
_LOG_BYTES = 10_000_000

# Number of attempts to start our own Ray.
_TRIES = 3


class OwnRay:
    """A Ray on this machine that belongs to this process. Its files are removed when it ends."""

    def __init__(self, cpus: int | None, home: Path | None) -> None:
        """Start Ray. Raises NotReady if all attempts fail."""
        if unused := [*forget_other_rays(os.environ), *forget_other_torches(os.environ)]:
            _log.info("not used for a Ray of its own: %s", ", ".join(unused))
        for left in reversed(range(_TRIES)):
            self._folder = ray_folder(home)
            try:
                self._start(cpus, home)
                return
            except BaseException as error:
                end_left_in(self._folder.path)
                self._folder.remove()
                # Ray raises bare exceptions, also if a node has not started within 30 s.
                if not isinstance(error, Exception):
                    raise
                if not left:
                    raise NotReady(
                        f"Ray does not start on this machine, tried {_TRIES} times: {error}; usually the "
                        "machine is very busy or short of memory: start again when it is less busy"
                    ) from error
                _log.warning("Ray has not started and is started again: %s", error)
                ray.shutdown()

    def _start(self, cpus: int | None, home: Path | None) -> None:
        # A token in the environment belongs to another cluster.
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ.pop(name, None)
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(own_token(home or self._folder.path))
        os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(_LOG_BYTES))
        os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "1")
        with (
            surrounded(self._folder.path, shielded=True) as self._processes,
            _on_loopback(),
            _without_onlookers(),
        ):
            ray.init(
                address="local",
                namespace="iplab",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _plasma_directory=object_folder(self._folder.path),
                _node_ip_address="127.0.0.1",
                # Ray makes its folder accessible to everyone, so it is placed inside our private folder.
                _temp_dir=str(self._folder.path / "r"),
            )

    def end(self) -> None:
        """End all of its processes and remove its files."""
        with ending(self._processes, lambda: not ray.is_initialized()):
            ray.shutdown()
        end_left_in(self._folder.path)
        self._folder.remove()


def object_folder(instead: Path, shared: Path = Path("/dev/shm")) -> str | None:  # noqa: S108
    """Folder of Ray's object store; None: Ray's choice, which is wrong if shared memory cannot be written."""
    return None if os.access(shared, os.W_OK | os.X_OK) else str(instead)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Make a Ray that starts in this context listen on loopback only.

    Ray replaces 127.0.0.1 by the machine's address and then listens on all interfaces, except on platforms
    where it supports no clusters. This makes it take the machine for one of these.
    """
    # This process reads the constant; processes that it starts read the variable.
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    try:
        with _replaced(ray_constants, ENABLE_RAY_CLUSTER=False):
            yield
    finally:
        del os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR]


@contextmanager
def _without_onlookers() -> Iterator[None]:
    """Make a Ray that starts in this context omit three processes, for which `ray.init` has no option.

    The monitor asks an autoscaler for nodes, the log monitor sends output of workers to the driver, and the
    API server is the dashboard's. Nothing here uses them, and their start takes three seconds of CPU.
    """
    # Ray documents a flag and annotates text.
    lean = partial(ray_parameter.RayParams, no_monitor=True, include_log_monitor=False)  # type: ignore[arg-type]

    def no_server(*_: object, **__: object) -> tuple[None, None]:
        return None, None  # what Ray itself returns if the server does not start

    with _replaced(ray_parameter, RayParams=lean), _replaced(ray_services, start_api_server=no_server):
        yield


@contextmanager
def _replaced(module: Any, **values: object) -> Iterator[None]:
    """Replace attributes of one of Ray's modules inside the context."""
    before = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        vars(module).update(before)


def needed_for_workers() -> list[Path]:
    """Paths without which Ray cannot start workers: the raylet's socket and the workers' log folder."""
    context = ray.get_runtime_context()
    session = Path(context.get_temp_dir()) / context.get_session_name()
    return [session / "sockets" / "raylet", session / "sockets" / "plasma_store", session / "logs"]


def cluster_name() -> str:
    """Unique name of the cluster that this process is a driver of."""
    return str(ray.get_runtime_context().get_session_name())


def living_nodes() -> dict[str, dict[str, float]]:
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


def join(address: str) -> None:
    """Become a driver of a cluster that this machine is a node of."""
    if address != "auto":
        # Checked first, because Ray would retry for minutes.
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
