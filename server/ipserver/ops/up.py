"""`ipserver up`: the whole service on one machine, with its parts as supervised processes."""

from __future__ import annotations

import fcntl
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from iplab.display import terminal
from ipserver.environment.addresses import split_address
from ipserver.environment.settings import Settings
from ipserver.errors import StartupError
from ipserver.ops.answering import Answering, health_channel
from ipserver.ops.heartbeat import Pulse, Pulses
from ipserver.ops.metric_addresses import part_address, with_free_ports
from ipserver.ops.parts import stop_event
from ipserver.ops.places import (
    free_address,
    heartbeat_file,
    log_file,
    make_folder,
    rotate_log,
    supervised_environment,
)
from ipserver.ops.running import announce, retract, running_service
from ipserver.ops.startup import check_data, migrate_store, prepare_home, waiting
from ipserver.store import Store, open_store
from ipserver.store.records.cluster import CapacityReport
from ipserver.workers.on_ray.folder import remove_abandoned_ray_folders

_log = logging.getLogger(__name__)
_PARTS = ("api", "dispatch", "forward", "web")
# Parts without which the service continues.
_OPTIONAL = frozenset({"web"})
# Longest time until a part works. (The end of a part is noticed at once; imports alone take half a minute on
# a busy machine.)
_START_SECONDS = 180.0
# The dispatcher waits up to 20 s for checkpoints and then ends Ray; the API gives running calls 5 s.
_STOP_SECONDS = {"api": 10.0, "dispatch": 35.0, "forward": 15.0, "web": 5.0}
_POLL_SECONDS = 0.2
# If a signal stops all processes of the service, a part may get it this much earlier than this process.
_STOPPING_SECONDS = 0.5
_ROTATE_SECONDS = 5.0
# A part that ends is restarted, unless it has ended this many times within the time below.
_RESTARTS = 5
_RESTART_SECONDS = 60.0
# A part without a heartbeat for this long hangs. (One run may occupy the forwarder for long.)
_PULSE_SECONDS = {"dispatch": 300.0, "forward": 900.0, "web": 120.0}
# Threads with a heartbeat of their own, by part. (Planning a round of a large study may take a minute.)
_THREADS = {"dispatch": {"studies": 900.0}}


@dataclass(slots=True)
class _Part:
    name: str
    process: subprocess.Popen[bytes]
    pulse: Pulses | Answering | None = None
    logged: int = 0  # bytes in its log when it was started
    restarts: list[float] = field(default_factory=list)


def up(settings: Settings) -> None:
    """Migrate the store, start all parts, keep them running until SIGTERM or SIGINT, then stop them in order.

    Raises:
        StartupError: A port is in use, the home is in use or not writable, or a part does not stay up.
    """
    prepare_home(settings)
    make_folder(settings.home / "logs")
    waiting(settings, lambda: check_data(settings))
    with _only_one(settings):
        settings = _with_addresses(settings)
        migrate_store(settings)
        stop = stop_event()
        with open_store(settings.store_dsn) as store:
            last_report = _last_report(store, settings)
        names = [name for name in _PARTS if name != "web" or settings.web_address]
        _tell(f"starting the API, the dispatcher with Ray, and the forwarder; logs {settings.home / 'logs'}")
        logged = {name: _logged(settings, name) for name in names}
        parts = [_Part(name, _start(settings, name), _pulse(settings, name), logged[name]) for name in names]
        try:
            _await_api(settings, parts, stop)
            _tell("the API answers; waiting for the dispatcher")
            _await_dispatcher(settings, parts, stop, last_report)
            web = _await_web(settings, parts, stop)
            if not stop.is_set():
                _announce(settings, parts)
                _greet(settings, web)
                _supervise(settings, parts, stop)
        finally:
            _stop(parts)
            remove_abandoned_ray_folders(settings.home)
            retract(settings)


def _with_addresses(settings: Settings) -> Settings:
    """The settings with free ports in place of port 0.

    With TLS, health is checked on a port of its own: this process has no certificate for the API's.
    """
    health = settings.health_address or ("127.0.0.1:0" if settings.certificates else "")
    if settings.certificates:
        settings.certificates.read()  # so that errors appear here, not in the API's log
    settings = settings.model_copy(update={"address": free_address(settings.address)})
    ports = {
        "web": _web_address(settings),
        "health_address": free_address(health) if health else "",
        "metrics_address": with_free_ports(settings.metrics_address),
    }
    return settings.model_copy(update=ports)


def _web_address(settings: Settings) -> str:
    """Address of the web page. If the default port after the API's is in use, another is taken."""
    if not settings.web_address or settings.web:
        return free_address(settings.web_address, "--web") if settings.web_address else settings.web
    try:
        return free_address(settings.web_address)
    except StartupError:
        return free_address("127.0.0.1:0")


def _last_report(store: Store, settings: Settings) -> CapacityReport | None:
    """The last report of a dispatcher.

    Without datasets if they were in another folder, because the new dispatcher has not checked this one yet.
    """
    report = store.capacity()
    if report is not None and report.data != str(settings.data or ""):
        store.save_capacity(replace(report, datasets=(), data=str(settings.data or "")))
    return store.capacity()


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Lock the home folder: two services in one home would both use its Ray and MLflow."""
    with (settings.home / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            found = running_service(settings)
            process = "" if found is None else f" (process {found.pid})"
            raise StartupError(
                f"another `ipserver up` runs in {settings.home}{process}, or has not stopped yet; "
                "choose another home with --home"
            ) from None
        yield


def _start(settings: Settings, name: str) -> subprocess.Popen[bytes]:
    log: IO[bytes]
    rotate_log(log_file(settings, name))
    with log_file(settings, name).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ipserver", name],
            env=supervised_environment(
                settings.model_copy(update={"metrics_address": part_address(settings.metrics_address, name)})
            ),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Ctrl-C at the terminal must reach only the supervisor, which stops the parts in order. A process
            # group, not a session: if Linux schedules by session (autogroup), niceness counts only within a
            # session, and the forwarder would get as much CPU time as all workers together.
            process_group=0,
        )


def _pulse(settings: Settings, name: str) -> Pulses | Answering | None:
    if name == "api":  # has a health service
        return Answering(settings.health_address or settings.address, _START_SECONDS + settings.wait_seconds)
    if name not in _PULSE_SECONDS:
        return None
    limits = {name: _PULSE_SECONDS[name], **_THREADS.get(name, {})}
    return Pulses(*(Pulse(heartbeat_file(settings, thread), limit) for thread, limit in limits.items()))


def _await_api(settings: Settings, parts: list[_Part], stop: threading.Event) -> None:
    api = parts[0]
    limit = _START_SECONDS + settings.wait_seconds
    deadline = time.monotonic() + limit
    address = settings.health_address or settings.address
    with health_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while not stop.is_set():
            try:
                health.Check(health_pb2.HealthCheckRequest(), timeout=1.0, wait_for_ready=True)
            except grpc.RpcError:
                if api.process.poll() is not None:
                    raise StartupError(f"the API ended at its start; {_tail(settings, api)}") from None
                if time.monotonic() > deadline:
                    raise StartupError(
                        f"the API did not answer within {limit:g} s; {_tail(settings, api)}"
                    ) from None
            else:
                return


def _await_dispatcher(
    settings: Settings, parts: list[_Part], stop: threading.Event, last_report: CapacityReport | None
) -> None:
    """Wait for a new report by the dispatcher, without which the API does not know the datasets."""
    dispatcher = parts[1]
    limit = _START_SECONDS + settings.wait_seconds
    deadline = time.monotonic() + limit
    with open_store(settings.store_dsn) as store:
        while store.capacity() == last_report and not stop.wait(_POLL_SECONDS):
            if dispatcher.process.poll() is not None:
                raise StartupError(f"the dispatcher ended at its start; {_tail(settings, dispatcher)}")
            if time.monotonic() > deadline:
                raise StartupError(f"Ray did not start within {limit:g} s; {_tail(settings, dispatcher)}")


def _await_web(settings: Settings, parts: list[_Part], stop: threading.Event) -> str:
    """The web page's URL once it is served; "" without one. The service starts without it too."""
    web = next((part for part in parts if part.name == "web"), None)
    if web is None:
        return ""
    host, port = split_address(settings.web_address)
    deadline = time.monotonic() + _START_SECONDS + settings.wait_seconds
    while not stop.wait(_POLL_SECONDS):
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            if web.process.poll() is None and time.monotonic() < deadline:
                continue
            _log.warning("the web page does not start; %s", _tail(settings, web))
            return ""
        return f"http://{settings.web_address}/"
    return ""


def _announce(settings: Settings, parts: list[_Part]) -> None:
    try:
        announce(settings, {part.name: part.process.pid for part in parts})
    except OSError as error:  # a full disk, say: the parts continue as far as possible
        _log.warning("service.json is missing or outdated; it cannot be written: %s", error)


def _tell(text: str) -> None:
    """Print progress on standard error. Standard output gets only the message that the service is ready."""
    try:
        print(terminal.shown_on(sys.stderr, text), file=sys.stderr, flush=True)
    except OSError:
        terminal.abandon_output()


def _greet(settings: Settings, web: str) -> None:
    """Print that the service is ready: the API answers and a dispatcher has reported."""
    try:
        said = f"iplab service at {settings.address}, home {settings.home}, logs {settings.home / 'logs'}"
        print(terminal.shown_on(sys.stdout, said))
        if web:
            print(f"Web page: {web}")
        print("MLflow UI: ipserver mlflow (another terminal, same IPLAB_HOME).")
        print("Stop with Ctrl-C.", flush=True)
    except OSError:  # the reader is gone or the disk is full, but the service works
        terminal.abandon_output()


def _supervise(settings: Settings, parts: list[_Part], stop: threading.Event) -> None:
    rotate_at = 0.0
    parts = list(parts)
    while not stop.wait(_POLL_SECONDS):
        if time.monotonic() >= rotate_at:
            rotate_at = time.monotonic() + _ROTATE_SECONDS
            for part in parts:
                rotate_log(log_file(settings, part.name))
        for part in tuple(parts):
            if part.process.poll() is None:
                if part.pulse is None or not part.pulse.stopped():
                    continue
                _log.warning("part %s has hung for %g s and is killed", part.name, part.pulse.seconds)
                part.process.kill()
                part.process.wait()
            if stop.wait(_STOPPING_SECONDS):
                return
            now = time.monotonic()
            part.restarts = [at for at in part.restarts if now - at < _RESTART_SECONDS] + [now]
            if len(part.restarts) > _RESTARTS and part.name in _OPTIONAL:
                _log.error("%s does not stay up; the service continues without it", part.name)
                parts.remove(part)
                continue
            if len(part.restarts) > _RESTARTS:
                raise StartupError(f"the part {part.name!r} does not stay up; {_tail(settings, part)}")
            _log.warning(
                "part %s ended with status %s; starting it again", part.name, part.process.returncode
            )
            if isinstance(part.pulse, Answering):
                part.pulse.close()
            part.logged = _logged(settings, part.name)
            part.process, part.pulse = _start(settings, part.name), _pulse(settings, part.name)
            _announce(settings, parts)


def _stop(parts: list[_Part]) -> None:
    """Stop the API first (no new work), then the dispatcher (it writes checkpoints) and the forwarder."""
    _end([part for part in parts if part.name == "api"])
    _end([part for part in parts if part.name != "api"])


def _end(parts: list[_Part]) -> None:
    """End parts concurrently; kill each part that exceeds its own time limit."""
    begin = time.monotonic()
    for part in parts:
        if part.process.poll() is None:
            part.process.terminate()
    for part in sorted(parts, key=lambda part: _STOP_SECONDS[part.name]):
        try:
            part.process.wait(max(0.1, begin + _STOP_SECONDS[part.name] - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.warning("part %s did not stop in time and is killed", part.name)
            part.process.kill()
            part.process.wait()
        if part.process.stdin:
            part.process.stdin.close()


def _logged(settings: Settings, name: str) -> int:
    try:
        return log_file(settings, name).stat().st_size
    except FileNotFoundError:
        return 0


def _tail(settings: Settings, part: _Part, lines: int = 8) -> str:
    """The end of a part's log since its start, unless the log was rotated since."""
    path = log_file(settings, part.name)
    data = path.read_bytes()
    said = data[part.logged :] if part.logged <= len(data) else data
    text = said.decode(errors="replace").splitlines()[-lines:]
    return f"the end of {path}:\n" + "\n".join(text) if text else f"it has written nothing to {path}"
