"""An experiment's place in the queue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """An estimate of when a waiting experiment starts.

    Attributes:
        packs_before: Number of waiting packs that are likely to start before its first pack.
        expected_start: Likely start of its first pack, in seconds since 1970-01-01 UTC; None if unknown.
    """

    packs_before: int
    expected_start: float | None
