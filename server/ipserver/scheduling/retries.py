"""What becomes of a pack whose attempt has ended early: the one place that decides.

Every cause has a budget of its own. An attempt counts against it only if it has committed nothing: a sweep of
days on machines that die goes on as long as it gets on, and a pack that ends its worker every time does not.
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
    SPLIT = "goes on as two packs of half its runs"
    FAIL = "failed"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a pack, and why.

    Attributes:
        action: What to do.
        left: Attempts that may still end for this cause without a commit; None: any number.
    """

    action: Action
    left: int | None

    def __str__(self) -> str:
        """For people: "is tried again (2 more tries)"."""
        if self.action is not Action.RETRY or self.left is None:
            return self.action.value
        return f"{self.action.value} ({self.left} more {'try' if self.left == 1 else 'tries'})"


# What a second try would meet again (data that are not there, a defect) has no budget, so is not in here.
_SETTINGS: Final[Mapping[FailureReason, str]] = {
    FailureReason.WORKER_LOST: "max_attempts",
    FailureReason.LEASE_LOST: "max_attempts_lease_lost",
    FailureReason.OUT_OF_MEMORY: "max_attempts_out_of_memory",
}
# Not the pack's fault, and over when somebody makes room or the artifact store answers: tried for ever.
_ENDLESS: Final = frozenset({FailureReason.ARTIFACTS_UNAVAILABLE})


def decide(
    cause: FailureReason, fruitless: Mapping[FailureReason, int], settings: Settings, runs: int = 1
) -> Decision:
    """Whether a pack is tried again, as it is or in halves.

    Args:
        cause: Why its attempt ended.
        fruitless: Per cause, attempts that have ended for it since the pack last committed a step: this one
            too, unless it has committed something.
        settings: Attempts per cause.
        runs: How many of the pack's runs are left to train.

    >>> from ipserver.environment.settings import load_settings
    >>> settings = load_settings(max_attempts=3)
    >>> str(decide(FailureReason.WORKER_LOST, {FailureReason.WORKER_LOST: 2}, settings))
    'is tried again (1 more try)'
    >>> str(decide(FailureReason.WORKER_LOST, {FailureReason.WORKER_LOST: 3}, settings))
    'failed'
    >>> str(decide(FailureReason.TRAINING_ERROR, {}, settings))
    'failed'
    >>> str(decide(FailureReason.OUT_OF_MEMORY, {}, settings, runs=64))
    'goes on as two packs of half its runs'
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
    """For how long nothing is started after files could not be written or read.

    2 s at first, then twice as long each time, up to 5 minutes; `reset` when it works again.
    """

    seconds: float = 0.0
    until: float = -float("inf")

    def over(self, now: float) -> bool:
        """Whether packs may be started."""
        return now >= self.until

    def extend(self, now: float) -> None:
        """Rest (again). Packs that fail together, during a rest, are one trouble."""
        if self.over(now):
            self.seconds = min(max(2 * self.seconds, _SHORTEST_REST), _LONGEST_REST)
            self.until = now + self.seconds

    def reset(self) -> None:
        """Files can be written again."""
        self.seconds, self.until = 0.0, -float("inf")
