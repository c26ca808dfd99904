"""Health checks of the API for `ipserver up`. An API that has stopped or hangs does not answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_REST_SECONDS: Final = 1.0
# Number of missed checks after which the API counts as stopped; a busy machine may answer late.
_CHECKS: Final = 6


def health_channel(address: str) -> grpc.Channel:
    """A channel to a server on this machine that may not listen yet.

    It uses no proxy, and reconnects every half second. By default gRPC waits longer after each failure, up to
    two minutes, and would find a slowly starting server long after it listens.

    Args:
        address: HOST:PORT.
    """
    backoff = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500))
    return grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0), *backoff])


class Answering:
    """Repeated health checks of a server. It has the interface of `heartbeat.Pulse`.

    It counts consecutive unanswered checks, not the time since the last answer, because it makes no checks
    while this process itself is suspended (Ctrl-Z, a laptop that sleeps).

    Args:
        address: HOST:PORT on this machine.
        start_seconds: Maximum time until the server's first answer, in seconds.
        timeout: Time that one check waits for its answer, in seconds.
        monotonic: Clock, in seconds.

    Attributes:
        seconds: Time without an answer after which the server counts as stopped.
    """

    def __init__(
        self,
        address: str,
        start_seconds: float,
        timeout: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = _CHECKS * timeout
        self._timeout = timeout
        self._monotonic = monotonic
        self._channel = health_channel(address)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._next = monotonic()
        # More checks may be missed before the first answer.
        self._allowed = max(_CHECKS, math.ceil(start_seconds / timeout))
        self._missed = 0
        self._call: Any = None

    def stopped(self) -> bool:
        """Whether the server stopped answering, or did not start in time. Never waits; call it often."""
        now = self._monotonic()
        if self._call is None and now >= self._next:
            request = health_pb2.HealthCheckRequest()
            self._call = self._health.Check.future(request, timeout=self._timeout, wait_for_ready=True)
        elif self._call is not None and self._call.done():
            well = self._call.code() is grpc.StatusCode.OK
            self._call, self._next = None, now + _REST_SECONDS
            if well:
                self._allowed = _CHECKS
            self._missed = 0 if well else self._missed + 1
        return self._missed >= self._allowed

    def close(self) -> None:
        """Stop the checks."""
        self._channel.close()
