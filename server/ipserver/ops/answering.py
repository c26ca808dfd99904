"""Whether the API still answers, for `ipserver up`. One that is stopped, or whose loop hangs, does not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_REST_SECONDS: Final = 1.0
# A machine that is busy answers late; one check in this many is enough.
_CHECKS: Final = 6


class Answering:
    """Asks a server's health service again and again; as `heartbeat.Pulse`, but it asks.

    Counted are checks in a row that were not answered, not the time since the last answer: while this process
    itself stands still (Ctrl-Z, a laptop that sleeps) it does not ask.

    Args:
        address: HOST:PORT on this machine.
        start_seconds: How long the server may take until its first answer.
        timeout: Seconds that one check waits for its answer.
        monotonic: Clock, in seconds.

    Attributes:
        seconds: After so long without an answer it counts as stopped.
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
        # No proxy reaches this machine's own port.
        self._channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._next = monotonic()
        # Until the first answer more may be missed.
        self._allowed = max(_CHECKS, math.ceil(start_seconds / timeout))
        self._missed = 0
        self._call: Any = None

    def stopped(self) -> bool:
        """Whether it does not answer any more, or has not begun to in time. Called often; never waits."""
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
        """Ask no more."""
        self._channel.close()
