"""The parts of the service, as functions that work until a stop signal; each runs in its own process."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ipserver.environment.addresses import split_address
from ipserver.environment.loading import loading
from ipserver.environment.logs import adopt_loggers
from ipserver.environment.settings import Settings
from ipserver.environment.traces import configure_traces
from ipserver.errors import StartupError
from ipserver.ops.heartbeat import Heartbeat
from ipserver.ops.places import _SUPERVISED, _owner, free_address, heartbeat_file, make_folder

if TYPE_CHECKING:
    from ipserver.api.calls import Call
    from ipserver.api.oidc import Oidc

_log = logging.getLogger(__name__)
# Longest wait for a worker that can train, before the dispatcher reports itself ready.
_WORKER_SECONDS = 30.0
_BEAT_SECONDS = 2.0
# How long a thread of the API may keep the interpreter while others wait; Python's own default is 5 ms. A
# short call changes threads several times, and each time waits for those that create large experiments.
_SWITCH_SECONDS = 0.001


def run_api(settings: Settings) -> None:
    """Serve gRPC until a stop signal."""
    with loading():
        from ipserver.api.room import Room  # noqa: PLC0415 - only this part needs it
        from ipserver.api.server import ApiConfig, serve  # noqa: PLC0415 - only this part needs grpc
        from ipserver.ops.startup import open_service  # noqa: PLC0415 - the store, which the page does without
        from ipserver.request.limits import limits_with  # noqa: PLC0415

    configure_traces("api")
    sys.setswitchinterval(_SWITCH_SECONDS)
    store = open_service(settings, write=False)
    limits = limits_with(**settings.limits)
    observers: list[Callable[[Call], None]] = []
    if settings.metrics_address:
        from ipserver.ops.metrics.api import ApiMetrics  # noqa: PLC0415 - only where they are served
        from ipserver.ops.metrics.serving import serve_metrics  # noqa: PLC0415

        observers.append(ApiMetrics(serve_metrics("api", settings.metrics_address)))
    config = ApiConfig(
        address=settings.address,
        limits=limits,
        artifact_root=settings.artifact_root,
        tls=settings.certificates,
        health_address=settings.health_address,
        connection_age=settings.connection_age_seconds,
        deleted_seconds=settings.deleted_seconds,
        room=Room(settings.disks, settings.min_free_bytes),
        audit_seconds=settings.audit_seconds,
        auth=settings.auth,
        provider=_identity_provider(settings),
        observers=tuple(observers),
    )
    stop = stop_event()

    async def main() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        waiter = threading.Thread(
            target=lambda: (stop.wait(), loop.call_soon_threadsafe(ended.set)), name="stop", daemon=True
        )
        waiter.start()
        await serve(store, config, stop=ended)

    asyncio.run(main())


def _identity_provider(settings: Settings) -> Oidc | None:
    if not settings.oidc_issuer:
        return None
    from ipserver.api.oidc import Oidc, OidcSettings  # noqa: PLC0415 - slow, and needed only with a provider

    return Oidc(
        OidcSettings(
            settings.oidc_issuer,
            settings.oidc_audience,
            settings.oidc_jwks,
            settings.oidc_user_claim,
            settings.oidc_groups_claim,
        )
    )


def run_dispatch(settings: Settings) -> None:
    """Dispatch packs on Ray until a stop signal."""
    with loading():
        from ipserver.ops.startup import check_data, open_service, waiting  # noqa: PLC0415 - the store, which the page does without
        from ipserver.ops.sweeper import Sweeper  # noqa: PLC0415
        from ipserver.request.limits import limits_with  # noqa: PLC0415
        from ipserver.scheduling.dispatcher import Dispatcher  # noqa: PLC0415 - only this part needs Ray
        from ipserver.scheduling.observing import IGNORE  # noqa: PLC0415
        from ipserver.store.records.audit import OwnActs  # noqa: PLC0415
        from ipserver.studies.driver import Studies  # noqa: PLC0415
        from ipserver.studies.outputs import Outputs  # noqa: PLC0415
        from ipserver.workers.on_ray.executor import RayExecutor  # noqa: PLC0415

    if settings.expected_nodes and not settings.ray_address:
        raise StartupError(
            "IPLAB_EXPECTED_NODES: the dispatcher's own Ray adds no nodes; leave it empty, or name a cluster "
            "with an autoscaler (IPLAB_RAY_ADDRESS)"
        )
    if not os.environ.get(_SUPERVISED):  # otherwise `ipserver up` has checked
        waiting(settings, lambda: check_data(settings))
    configure_traces("dispatch")
    store = open_service(settings, write=True)
    observer = IGNORE
    if settings.metrics_address:
        from ipserver.ops.metrics.dispatch import DispatchMetrics  # noqa: PLC0415 - only where they are served
        from ipserver.ops.metrics.serving import serve_metrics  # noqa: PLC0415

        observer = DispatchMetrics(serve_metrics("dispatch", settings.metrics_address), store)
    if not settings.ray_address:
        make_folder(settings.home)  # holds the files of our own Ray
    stop = stop_event()

    def rest(seconds: float) -> None:
        if stop.wait(seconds):
            raise SystemExit(0)

    executor = waiting(
        settings,
        lambda: RayExecutor(settings.ray_address, settings.cpus, settings.ready_workers, settings.home),
        sleep=rest,
    )
    adopt_loggers()  # Ray has set up its own
    executor.await_worker(_WORKER_SECONDS, rest)
    sweeper = Sweeper(store, settings)
    threading.Thread(target=sweeper.run, args=(stop,), name="sweeper", daemon=True).start()
    # In a separate thread, because planning a round may take seconds and dispatching must not wait.
    outputs = Outputs(store, settings.artifact_root, settings.data)
    limits, lease = limits_with(**settings.limits), 2 * settings.lease_seconds
    alive = Heartbeat(heartbeat_file(settings, "studies"))
    acts = OwnActs(settings.audit_seconds)
    studies = Studies(store, limits, outputs, _owner("study"), lease, beat=alive, acts=acts)
    threading.Thread(target=studies.run, args=(stop,), name="studies", daemon=True).start()
    try:
        beat = Heartbeat(heartbeat_file(settings, "dispatch"))
        Dispatcher(store, executor, settings, _owner("dispatch"), beat=beat, observer=observer).run(stop)
    finally:
        executor.close()


def run_forward(settings: Settings) -> None:
    """Forward everything to MLflow until a stop signal, at low priority."""
    from ipserver.ops.startup import open_service, waiting  # noqa: PLC0415 - the store, which the page does without

    # A lower priority than Ray's workers (niceness 15, or 5 for our own Ray) in the same session.
    os.nice(19)
    store = open_service(settings, write=False)
    # MLflow takes seconds to load, so it is imported after the store has been found.
    with loading():
        from ipserver.forward.connect import connect  # noqa: PLC0415
        from ipserver.forward.forwarder import Forwarder  # noqa: PLC0415
        from ipserver.forward.observing import IGNORE  # noqa: PLC0415

    stop = stop_event()
    beat = Heartbeat(heartbeat_file(settings, "forward"))

    def rest(seconds: float) -> None:
        beat()
        if stop.wait(seconds):
            raise SystemExit(0)

    observer = IGNORE
    if settings.metrics_address:
        from ipserver.ops.metrics.forward import ForwardMetrics  # noqa: PLC0415 - only where they are served
        from ipserver.ops.metrics.serving import serve_metrics  # noqa: PLC0415

        observer = ForwardMetrics(serve_metrics("forward", settings.metrics_address), store)

    # Other parts of `ipserver up` do not need MLflow, so an outage of MLflow must not end the service.
    patience = math.inf if os.environ.get(_SUPERVISED) else None
    sink = waiting(settings, lambda: connect(settings), seconds=patience, sleep=rest)
    adopt_loggers()  # MLflow has set up its own
    # One run may occupy the forwarder for longer than a slice occupies a dispatcher.
    lease = 2 * settings.lease_seconds
    Forwarder(
        store,
        sink,
        settings.artifact_root,
        _owner("forward"),
        lease_seconds=lease,
        beat=beat,
        points_per_second=settings.mlflow_points_per_second,
        stop=stop,
        observer=observer,
    ).run()


def run_web(settings: Settings) -> None:
    """Serve the web page until a stop signal, at a lower priority than training.

    Raises:
        StartupError: The web page is off, or its port is in use.
    """
    with loading():
        from ipserver.web.app import application  # noqa: PLC0415 - only this part serves HTTP
        from ipserver.web.calls import Calls  # noqa: PLC0415
        from ipserver.web.server import server  # noqa: PLC0415

    if not settings.web_address:
        raise StartupError("IPLAB_WEB is off; set it to the address of the web page, such as 127.0.0.1:50052")
    os.nice(5)
    address = free_address(settings.web_address, "--web")
    host, port = split_address(address)
    stop = stop_event()
    make_folder(settings.home)
    beat = Heartbeat(heartbeat_file(settings, "web"))

    @asynccontextmanager
    async def beating(_: object) -> AsyncIterator[None]:
        async def go_on() -> None:
            while True:
                beat()
                await asyncio.sleep(_BEAT_SECONDS)

        task = asyncio.create_task(go_on())
        yield
        task.cancel()

    app = application(Calls(settings.address), host, settings.mlflow_page, beating)
    serving = server(app, host, int(port))
    adopt_loggers()  # uvicorn has set up its own

    def leave() -> None:
        stop.wait()
        serving.should_exit = True

    threading.Thread(target=leave, name="stop", daemon=True).start()
    serving.run()


def stop_event() -> threading.Event:
    """An event set by SIGTERM, SIGINT or SIGHUP, or by the end of the supervisor."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Under nohup, SIGHUP (the end of the terminal) stays ignored.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: stop.set())
    if os.environ.get(_SUPERVISED):
        # The supervisor holds the other end of standard input, which closes even if the supervisor is killed.
        # Read unbuffered: the interpreter crashes at exit if a daemon thread holds a buffer's lock.
        def watch() -> None:
            while os.read(sys.stdin.fileno(), 1024):
                pass
            stop.set()

        threading.Thread(target=watch, name="supervisor", daemon=True).start()
    return stop
