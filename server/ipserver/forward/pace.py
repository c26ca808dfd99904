"""Rate limit for points sent to MLflow, which others may use and which an outage must not flood."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """Token bucket: at most `rate` points per second, with a burst of one second's worth. Thread-safe.

    Args:
        rate: Points per second, > 0.
        monotonic: Clock, in seconds.
        sleep: Sleeps for the given seconds.

    >>> now = [0.0]
    >>> pace = Pace(100, lambda: now[0], lambda seconds: now.append(now.pop() + seconds))
    >>> pace.take(100)
    >>> pace.take(50)
    >>> pace.take(50)
    >>> now
    [0.5]
    """

    def __init__(
        self,
        rate: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free = -float("inf")  # when all points taken so far are paid off at the rate

    def take(self, points: int) -> None:
        """Wait until earlier points are at most one second ahead of the rate, then take `points`."""
        with self._lock:  # held during the sleep: all threads share the rate
            now = self._monotonic()
            if self._free - now > 1.0:
                self._sleep(self._free - now - 1.0)
                now = self._monotonic()
            self._free = max(self._free, now) + points / self._rate
