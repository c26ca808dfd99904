"""States as the API names them, without their prefixes.

Generated from proto/ (make proto); do not edit.
"""

from __future__ import annotations

from enum import StrEnum


class ExperimentState(StrEnum):
    """State of an experiment (`iplab.v1.ExperimentState` without its prefix). Only an extension, or a retry
    of failed runs, leaves a terminal state."""

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


class RunState(StrEnum):
    """State of a run (`iplab.v1.RunState` without its prefix). Terminal states are final."""

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


class StudyState(StrEnum):
    """State of a study (`iplab.v1.StudyState` without its prefix). Terminal states are final."""

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


class FailureReason(StrEnum):
    """Why an attempt or a run failed (`iplab.v1.FailureReason` without its prefix)."""

    # The worker or its machine died; retried until the budget of attempts is used up.
    WORKER_LOST = "WORKER_LOST"
    # The dispatcher that led the pack died or lost its lease; another dispatcher continues it.
    LEASE_LOST = "LEASE_LOST"
    # The dataset was missing or damaged on the worker.
    DATA_UNAVAILABLE = "DATA_UNAVAILABLE"
    # The worker ran out of memory.
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    # An error in training that a retry would repeat.
    TRAINING_ERROR = "TRAINING_ERROR"
    # Weights or checkpoints could not be written or read (the disk is full, the artifact store does not
    # answer); retried without limit, after pauses of up to 5 minutes.
    ARTIFACTS_UNAVAILABLE = "ARTIFACTS_UNAVAILABLE"
    # For IPLAB_PLACEMENT_TIMEOUT_SECONDS, a setting of the service, no node could hold the requested
    # resources. Packs that wait for resources in use by others never fail for this reason.
    UNSCHEDULABLE = "UNSCHEDULABLE"
