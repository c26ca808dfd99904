"""Exponential backoff per key."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Backoff(Generic[Key]):
    """Retry delays per key. The delay doubles with every further consecutive failure.

    Args:
        first: The first delay in seconds.
        longest: The longest delay in seconds.

    >>> backoff = Backoff[str](first=2, longest=5)
    >>> backoff.failed("a", now=0), backoff.resting(now=1), backoff.resting(now=2)
    (2, ('a',), ())
    >>> backoff.failed("a", now=2), backoff.failed("a", now=6)
    (4, 5)
    >>> backoff.failed("b", now=0), backoff.failed("b", now=2, works_since=-1)
    (2, 2)
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._rests: dict[Key, tuple[float, float]] = {}  # its length, its end

    def failed(self, key: Key, now: float, works_since: float = float("inf")) -> float:
        """Record a failure of `key`; return the delay in seconds until its next try.

        Args:
            key: The key that failed.
            now: The current time in seconds.
            works_since: When another key of its kind last succeeded. If that was before the last failure of
                `key`, the failure may not be the key's own, and the delay does not grow.
        """
        if (last := self._rests.get(key)) is None:
            rest = self._first
        else:
            rest, end = last
            if works_since > end - rest:
                rest = min(2 * rest, self._longest)
        self._rests[key] = rest, now + rest
        return rest

    def succeeded(self, key: Key) -> None:
        """Forget the failures of `key`."""
        self._rests.pop(key, None)

    def resting(self, now: float) -> tuple[Key, ...]:
        """Keys whose retry time has not come. Entries that expired long ago are dropped."""
        self._rests = {
            key: (rest, end) for key, (rest, end) in self._rests.items() if end + self._longest > now
        }
        return tuple(key for key, (_, end) in self._rests.items() if end > now)
