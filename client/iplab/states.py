"""States of experiments, runs and studies, by the names that filters use, and the regimes of theory."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class _State(StrEnum):
    @classmethod
    def read(cls, name: str) -> Self:
        """By name; a newer service may send one that is UNKNOWN here."""
        return cls(name) if name in cls.__members__ else cls("UNKNOWN")


class ExperimentState(_State):
    """Where an experiment stands (`iplab.v1.ExperimentState` without its prefix)."""

    UNKNOWN = "UNKNOWN"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELLED}


class RunState(_State):
    """Where a run stands (`iplab.v1.RunState` without its prefix)."""

    UNKNOWN = "UNKNOWN"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    DIVERGED = "DIVERGED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether the state is final. DIVERGED is a result, not an error."""
        return self in {self.SUCCEEDED, self.DIVERGED, self.FAILED, self.CANCELLED}


class StudyState(_State):
    """Where a study stands (`iplab.v1.StudyState` without its prefix)."""

    UNKNOWN = "UNKNOWN"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELLED}


class StudyVerdict(_State):
    """What a study says (`iplab.v1.StudyVerdict` without its prefix). UNKNOWN: nothing is known yet."""

    UNKNOWN = "UNKNOWN"
    AGREES = "AGREES"
    DISAGREES = "DISAGREES"
    NO_PREDICTION = "NO_PREDICTION"
    UNDECIDED = "UNDECIDED"

    @property
    def words(self) -> str:
        """For tables: "no prediction"."""
        return "" if self is self.UNKNOWN else self.value.lower().replace("_", " ")


class StudyReason(_State):
    """Why a study has ended (`iplab.v1.StudyReason` without its prefix). UNKNOWN: it has not."""

    UNKNOWN = "UNKNOWN"
    DECIDED = "DECIDED"
    BUDGET = "BUDGET"
    LIMIT = "LIMIT"
    DIVERGED = "DIVERGED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Regime(_State):
    """What theory predicts in the limit of infinite width (`iplab.v1.Regime` without its prefix).

    UNKNOWN: not covered by theory, or beyond what is analysed. MEASURE: theory does not settle it.
    CONTROLLED_DIVERGENCE: the output grows with the width, hidden layers do not.
    """

    UNKNOWN = "UNKNOWN"
    UNSTABLE = "UNSTABLE"
    CONTROLLED_DIVERGENCE = "CONTROLLED_DIVERGENCE"
    TRIVIAL = "TRIVIAL"
    FEATURE_LEARNING = "FEATURE_LEARNING"
    KERNEL = "KERNEL"
    OPERATOR = "OPERATOR"
    MEASURE = "MEASURE"

    @property
    def words(self) -> str:
        """For tables: "feature learning"; "not covered" if unknown, "not settled" for MEASURE."""
        known = {self.UNKNOWN: "not covered", self.MEASURE: "not settled"}
        return known.get(self, self.value.lower().replace("_", " "))

    @property
    def meaning(self) -> str:
        """In a few words, for those who meet it first."""
        return _MEANINGS[self.value]


_MEANINGS = {
    "UNKNOWN": "theory does not speak of this loss, activation or optimizer",
    "UNSTABLE": "some size grows with the width without bound",
    "CONTROLLED_DIVERGENCE": "the output grows with the width, hidden layers do not",
    "TRIVIAL": "wide networks do not move",
    "FEATURE_LEARNING": "hidden layers change by as much as they are large, at every width",
    "KERNEL": "hidden layers stay as they are; the output moves as a kernel machine's",
    "OPERATOR": "as kernel, with Adam: the output moves, hidden layers stay as they are",
    "MEASURE": "theory does not settle it: train and measure",
}
