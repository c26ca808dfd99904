"""`ipserver up`: the whole service on one machine, with its parts as supervised processes."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from iplab.display import terminal
from ipserver.environment.settings import Settings
from ipserver.errors import StartupError
from ipserver.ops.metric_addresses import with_free_ports
from ipserver.ops.parts import stop_event
from ipserver.ops.places import free_address, make_folder
from ipserver.ops.processes import Part
from ipserver.ops.readiness import await_api, await_dispatcher, await_web
from ipserver.ops.running import retract, running_service
from ipserver.ops.startup import check_data, migrate_store, prepare_home, waiting
from ipserver.ops.supervisor import announce_parts, stop_in_order, supervise
from ipserver.store import Store, open_store
from ipserver.store.records.cluster import CapacityReport
from ipserver.workers.on_ray.folder import remove_abandoned_ray_folders

_PARTS = ("api", "dispatch", "forward", "web")


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
        parts = [Part.started(settings, name) for name in names]
        try:
            await_api(settings, parts, stop)
            _tell("the API answers; waiting for the dispatcher")
            await_dispatcher(settings, parts, stop, last_report)
            web = await_web(settings, parts, stop)
            if not stop.is_set():
                announce_parts(settings, parts)
                _greet(settings, web)
                supervise(settings, parts, stop)
        finally:
            stop_in_order(parts)
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
