"""Waiting until the parts of `ipserver up` work: the API answers, a dispatcher reports, the page is up."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ipserver.environment.addresses import split_address
from ipserver.environment.settings import Settings
from ipserver.errors import StartupError
from ipserver.ops.answering import health_channel
from ipserver.ops.processes import START_SECONDS, Part, log_tail
from ipserver.store import open_store
from ipserver.store.records.cluster import CapacityReport

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2


def await_api(settings: Settings, parts: Sequence[Part], stop: threading.Event) -> None:
    """Wait until the API answers.

    Raises:
        StartupError: It has ended, or does not answer in time.
    """
    api = parts[0]
    limit = START_SECONDS + settings.wait_seconds
    deadline = time.monotonic() + limit
    address = settings.health_address or settings.address
    with health_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while not stop.is_set():
            try:
                health.Check(health_pb2.HealthCheckRequest(), timeout=1.0, wait_for_ready=True)
            except grpc.RpcError:
                if api.process.poll() is not None:
                    raise StartupError(f"the API ended at its start; {log_tail(settings, api)}") from None
                if time.monotonic() > deadline:
                    raise StartupError(
                        f"the API did not answer within {limit:g} s; {log_tail(settings, api)}"
                    ) from None
            else:
                return


def await_dispatcher(
    settings: Settings, parts: Sequence[Part], stop: threading.Event, last_report: CapacityReport | None
) -> None:
    """Wait for a new report by the dispatcher, without which the API does not know the datasets.

    Raises:
        StartupError: The dispatcher has ended, or does not report in time.
    """
    dispatcher = parts[1]
    limit = START_SECONDS + settings.wait_seconds
    deadline = time.monotonic() + limit
    with open_store(settings.store_dsn) as store:
        while store.capacity() == last_report and not stop.wait(_POLL_SECONDS):
            if dispatcher.process.poll() is not None:
                raise StartupError(f"the dispatcher ended at its start; {log_tail(settings, dispatcher)}")
            if time.monotonic() > deadline:
                raise StartupError(f"Ray did not start within {limit:g} s; {log_tail(settings, dispatcher)}")


def await_web(settings: Settings, parts: Sequence[Part], stop: threading.Event) -> str:
    """The web page's URL once it is served; "" without one. The service starts without it too."""
    web = next((part for part in parts if part.name == "web"), None)
    if web is None:
        return ""
    host, port = split_address(settings.web_address)
    deadline = time.monotonic() + START_SECONDS + settings.wait_seconds
    while not stop.wait(_POLL_SECONDS):
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            if web.process.poll() is None and time.monotonic() < deadline:
                continue
            _log.warning("the web page does not start; %s", log_tail(settings, web))
            return ""
        return f"http://{settings.web_address}/"
    return ""
