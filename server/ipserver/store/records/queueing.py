"""Where an experiment stands in the queue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """What is known of when a waiting experiment starts.

    Attributes:
        packs_before: Packs that wait and are likely to start before its first one.
        expected_start: When that one is likely to start, in seconds since 1970-01-01 UTC; None: unknown.
    """

    packs_before: int
    expected_start: float | None
