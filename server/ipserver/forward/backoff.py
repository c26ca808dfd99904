"""Growing rests for what has failed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Backoff(Generic[Key]):
    """A key that fails rests, twice as long after every further failure in a row.

    Args:
        first: The first rest in seconds.
        longest: The longest rest in seconds.

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
        """Let `key` rest; returns for how long.

        Args:
            key: What failed.
            now: The time.
            works_since: When others of its kind last did not fail. If that was before `key` failed the last
                time, the fault need not be its own, and its rest stays as long as it was.
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
        """Keys whose time to be tried again has not come. Entries that expired long ago are dropped."""
        self._rests = {
            key: (rest, end) for key, (rest, end) in self._rests.items() if end + self._longest > now
        }
        return tuple(key for key, (_, end) in self._rests.items() if end > now)
