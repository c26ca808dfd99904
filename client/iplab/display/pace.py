"""Estimates of remaining time, and durations as text."""

from __future__ import annotations

from collections.abc import Callable


class Estimate:
    """Estimates the remaining time from the pace so far."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start: tuple[float, float] | None = None

    def left(self, done: float, total: float) -> str:
        """Text such as ", about 12 s left"; "" if the pace is unknown or nothing is left."""
        now = self._clock()
        if self._start is None:
            self._start = (now, done)
        begin, before = self._start
        if done >= total or done <= before or now <= begin:
            return ""
        return f", about {duration((now - begin) / (done - before) * (total - done))} left"


def duration(seconds: float) -> str:
    """A duration as text.

    >>> [duration(s) for s in (0.4, 42.3, 100, 5000, 400000)]
    ['1 s', '42 s', '1 min 40 s', '1 h 23 min', '4 d 15 h']
    """
    whole = max(1, round(seconds))
    for large, small, size, part in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
