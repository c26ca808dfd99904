"""Growing rests for what has failed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Backoff(Generic[Key]):
    """Whatever fails rests, twice as long after every further failure in a row.

    Args:
        first: The first rest in seconds.
        longest: The longest rest in seconds.

    >>> backoff = Backoff[str](first=2, longest=5)
    >>> backoff.failed("a", now=0), backoff.resting(now=1), backoff.resting(now=2)
    (2, ('a',), ())
    >>> backoff.failed("a", now=2), backoff.failed("a", now=6)
    (4, 5)
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._rests: dict[Key, tuple[float, float]] = {}  # its length, its end

    def failed(self, key: Key, now: float) -> float:
        """Let `key` rest; returns for how long."""
        rest = min(2 * self._rests[key][0], self._longest) if key in self._rests else self._first
        self._rests[key] = rest, now + rest
        return rest

    def succeeded(self, key: Key) -> None:
        """Forget the failures of `key`."""
        self._rests.pop(key, None)

    def resting(self, now: float) -> tuple[Key, ...]:
        """What is not to be tried yet. What nobody tries again long after its rest is forgotten."""
        self._rests = {
            key: (rest, end) for key, (rest, end) in self._rests.items() if end + self._longest > now
        }
        return tuple(key for key, (_, end) in self._rests.items() if end > now)
