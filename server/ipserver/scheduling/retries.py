"""Retry policy: the only place that decides about a pack after an attempt ended early.

Every cause has its own budget. An attempt counts against it only if it committed nothing. So a sweep of days
on failing machines continues as long as it makes progress, but a pack that always ends its worker fails.
Attempts that were given back (a drain, a pause, a preemption) have no cause and never count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ipserver.environment.settings import Settings
from ipserver.store.states import FailureReason

_SHORTEST_REST, _LONGEST_REST = 2.0, 300.0


class Action(StrEnum):
    """What to do with the pack."""

    RETRY = "is tried again"
    SPLIT = "is split into two packs of half its runs"
    FAIL = "failed"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a pack after a failed attempt.

    Attributes:
        action: What to do.
        left: Number of further attempts that may fail for this cause without a commit; None: unlimited.
    """

    action: Action
    left: int | None

    def __str__(self) -> str:
        """Text for messages: "is tried again (2 more tries)"."""
        if self.action is not Action.RETRY or self.left is None:
            return self.action.value
        return f"{self.action.value} ({self.left} more {'try' if self.left == 1 else 'tries'})"


# Causes that a second attempt would meet again (missing data, a defect) have no budget and are not listed.
_SETTINGS: Final[Mapping[FailureReason, str]] = {
    FailureReason.WORKER_LOST: "max_attempts",
    FailureReason.LEASE_LOST: "max_attempts_lease_lost",
    FailureReason.OUT_OF_MEMORY: "max_attempts_out_of_memory",
}
# Causes outside of the pack that end when disk space is freed or the artifact store answers: no limit.
_ENDLESS: Final = frozenset({FailureReason.ARTIFACTS_UNAVAILABLE})


def decide(
    cause: FailureReason, fruitless: Mapping[FailureReason, int], settings: Settings, runs: int = 1
) -> Decision:
    """Decide whether a pack is retried, as it is or split in halves.

    Args:
        cause: The reason for which its attempt ended.
        fruitless: Number of attempts, per cause, that have failed since the pack last committed a step,
            including this one unless it has committed something.
        settings: Attempts per cause.
        runs: Number of the pack's runs that are left to train.

    >>> from ipserver.environment.settings import load_settings
    >>> settings = load_settings(max_attempts=3)
    >>> str(decide(FailureReason.WORKER_LOST, {FailureReason.WORKER_LOST: 2}, settings))
    'is tried again (1 more try)'
    >>> str(decide(FailureReason.WORKER_LOST, {FailureReason.WORKER_LOST: 3}, settings))
    'failed'
    >>> str(decide(FailureReason.TRAINING_ERROR, {}, settings))
    'failed'
    >>> str(decide(FailureReason.OUT_OF_MEMORY, {}, settings, runs=64))
    'is split into two packs of half its runs'
    """
    if cause is FailureReason.OUT_OF_MEMORY and runs > 1:
        return Decision(Action.SPLIT, None)
    if cause in _ENDLESS:
        return Decision(Action.RETRY, None)
    if cause not in _SETTINGS:
        return Decision(Action.FAIL, 0)
    left = int(getattr(settings, _SETTINGS[cause])) - fruitless.get(cause, 0)
    return Decision(Action.RETRY, left) if left > 0 else Decision(Action.FAIL, 0)


@dataclass(slots=True)
class Rest:
    """Pause of starts after files could not be written or read.

    The pause is 2 s at first and doubles up to 5 minutes. `reset` ends it when files work again.
    """

    seconds: float = 0.0
    until: float = -float("inf")

    def over(self, now: float) -> bool:
        """Whether packs may be started."""
        return now >= self.until

    def extend(self, now: float) -> None:
        """Start or lengthen the pause. Failures during a pause count as one."""
        if self.over(now):
            self.seconds = min(max(2 * self.seconds, _SHORTEST_REST), _LONGEST_REST)
            self.until = now + self.seconds

    def reset(self) -> None:
        """End the pause: files can be written again."""
        self.seconds, self.until = 0.0, -float("inf")
