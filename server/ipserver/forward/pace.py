"""How fast points may go to MLflow: after an outage it is not to be flooded, and others use it too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pace:
    """Token bucket: at most `rate` points a second, and those of one second at once. Thread-safe.

    Args:
        rate: Points a second, > 0.
        monotonic: Clock, in seconds.
        sleep: Rests, in seconds.

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
        self._free = -float("inf")  # when all that was taken so far has had its time

    def take(self, points: int) -> None:
        """Rest until what was taken before is at most a second ahead of the rate; then these may go too."""
        with self._lock:  # also while it rests: the rate is that of all threads together
            now = self._monotonic()
            if self._free - now > 1.0:
                self._sleep(self._free - now - 1.0)
                now = self._monotonic()
            self._free = max(self._free, now) + points / self._rate
