"""States as the API names them, without their prefixes.

Generated from proto/ (make proto); do not edit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ApiEnum(StrEnum):
    """Values that a service sends by name."""

    @classmethod
    def read(cls, name: str) -> Self:
        """By name; a newer service may send one that is UNKNOWN here."""
        return cls(name) if name in cls.__members__ else cls("UNKNOWN")


class ExperimentState(ApiEnum):
    """State of an experiment (`iplab.v1.ExperimentState` without its prefix). Only an extension, or a retry
    of failed runs, leaves a terminal state."""

    # What only a newer service knows; or nothing yet.
    UNKNOWN = "UNKNOWN"
    # Accepted and durable; no run trains yet.
    QUEUED = "QUEUED"
    # At least one run trains or has ended, and at least one has not ended.
    RUNNING = "RUNNING"
    # A pause was requested; packs in training are given back at their next slice boundary, with a
    # checkpoint.
    PAUSING = "PAUSING"
    # No run trains, and none will until the experiment is resumed.
    PAUSED = "PAUSED"
    # Cancellation was requested; running packs stop at their next slice boundary.
    CANCELLING = "CANCELLING"
    # Terminal: every run succeeded or diverged (divergence is a result), none failed or was cancelled.
    SUCCEEDED = "SUCCEEDED"
    # Terminal: at least one run failed.
    FAILED = "FAILED"
    # Terminal: no run failed and at least one was cancelled.
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether it is an end."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELLED}


class RunState(ApiEnum):
    """State of a run (`iplab.v1.RunState` without its prefix). Terminal states are final."""

    # What only a newer service knows; or nothing yet.
    UNKNOWN = "UNKNOWN"
    # Waiting for a worker (for the first time, or again after a worker was lost).
    QUEUED = "QUEUED"
    # Training in a pack.
    RUNNING = "RUNNING"
    # Its experiment is paused. The run continues from a checkpoint after the experiment is resumed.
    PAUSED = "PAUSED"
    # Cancellation was requested; it takes effect at the next slice boundary.
    CANCELLING = "CANCELLING"
    # Terminal: trained to its last step.
    SUCCEEDED = "SUCCEEDED"
    # Terminal: the training loss was not finite. A result, not an error.
    DIVERGED = "DIVERGED"
    # Terminal: an error ended it; see `failure`.
    FAILED = "FAILED"
    # Terminal: ended by request.
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether it is an end."""
        return self in {self.SUCCEEDED, self.DIVERGED, self.FAILED, self.CANCELLED}


class StudyState(ApiEnum):
    """State of a study (`iplab.v1.StudyState` without its prefix). Terminal states are final."""

    # What only a newer service knows; or nothing yet.
    UNKNOWN = "UNKNOWN"
    # Accepted and durable; its rounds are planned and trained.
    RUNNING = "RUNNING"
    # Cancellation was requested; its experiments stop.
    CANCELLING = "CANCELLING"
    # Terminal: it ended normally, decided or not (`verdict`, `reason`).
    SUCCEEDED = "SUCCEEDED"
    # Terminal: it cannot continue, because runs could not be trained or the service has a bug
    # (`sentence`).
    FAILED = "FAILED"
    # Terminal: ended by request.
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether it is an end."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELLED}


class StudyReason(ApiEnum):
    """Why a study has ended (`iplab.v1.StudyReason` without its prefix)."""

    # What only a newer service knows; or nothing yet.
    UNKNOWN = "UNKNOWN"
    # The question is answered.
    DECIDED = "DECIDED"
    # The remaining budget does not cover the next round.
    BUDGET = "BUDGET"
    # The largest number of seeds and the largest widths that a study uses did not decide it.
    LIMIT = "LIMIT"
    # Too many runs diverged.
    DIVERGED = "DIVERGED"
    # Runs could not be trained, or the service has a bug.
    FAILED = "FAILED"
    # It was cancelled.
    CANCELLED = "CANCELLED"
