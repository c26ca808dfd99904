"""Token buckets by key, for limits per second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class TokenBuckets(Generic[Key]):
    """Token buckets by key. A new bucket is full.

    Args:
        most: Maximum number of buckets. At this number all are dropped, so they start full again.
        monotonic: Clock, in seconds.

    >>> buckets = TokenBuckets[str](monotonic=lambda: 7.0)
    >>> buckets.take("a", rate=2.0, burst=1.0), buckets.take("a", rate=2.0, burst=1.0)
    (0.0, 0.5)
    """

    def __init__(self, most: int = 10_000, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._monotonic = monotonic
        # Tokens left, and the time at which they were counted.
        self._buckets: dict[Key, tuple[float, float]] = {}

    def take(self, key: Key, rate: float, burst: float) -> float:
        """Take a token from a bucket that gets `rate` tokens per second and holds `burst`.

        Returns:
            0.0 if a token was taken, otherwise the seconds until there is one (infinite at rate 0).
        """
        now = self._monotonic()
        left, then = self._buckets.get(key, (burst, now))
        left = min(burst, left + rate * (now - then))
        if left < 1.0:
            return (1.0 - left) / rate if rate else math.inf
        if key not in self._buckets and len(self._buckets) >= self._most:
            self._buckets.clear()
        self._buckets[key] = left - 1.0, now
        return 0.0
