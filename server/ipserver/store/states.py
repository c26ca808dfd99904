"""States of experiments, runs, packs and studies, by the names that the store and the API share."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ExperimentState(StrEnum):
    """State of an experiment (`iplab.v1.ExperimentState` without its prefix)."""

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
        """Whether all runs have ended. Only an extension leaves such a state."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELLED}


class RunState(StrEnum):
    """State of a run (`iplab.v1.RunState` without its prefix)."""

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
        """Whether the state is final."""
        return self in {self.SUCCEEDED, self.DIVERGED, self.FAILED, self.CANCELLED}


class PackState(StrEnum):
    """State of a pack."""

    QUEUED = "QUEUED"
    LEASED = "LEASED"
    DONE = "DONE"

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return self is PackState.DONE


class StudyState(StrEnum):
    """State of a study (`iplab.v1.StudyState` without its prefix)."""

    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return self in {self.SUCCEEDED, self.FAILED, self.CANCELLED}


class FailureReason(StrEnum):
    """Why an attempt or a run failed (`iplab.v1.FailureReason` without its prefix)."""

    WORKER_LOST = "WORKER_LOST"
    LEASE_LOST = "LEASE_LOST"
    DATA_UNAVAILABLE = "DATA_UNAVAILABLE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TRAINING_ERROR = "TRAINING_ERROR"
    ARTIFACTS_UNAVAILABLE = "ARTIFACTS_UNAVAILABLE"
    UNSCHEDULABLE = "UNSCHEDULABLE"


def experiment_state(
    counts: Mapping[RunState, int], *, cancelling: bool = False, pausing: bool = False
) -> ExperimentState:
    """The experiment's state from the number of its runs in each state.

    Args:
        counts: Runs per state; missing states count 0. At least one run.
        cancelling: Whether cancellation of the whole experiment was requested.
        pausing: Whether a pause was requested and the experiment was not resumed since.

    >>> experiment_state({RunState.SUCCEEDED: 2, RunState.DIVERGED: 1}).value
    'SUCCEEDED'
    """
    total = sum(counts.values())
    if sum(n for state, n in counts.items() if state.terminal) == total:
        if counts.get(RunState.FAILED):
            return ExperimentState.FAILED
        if counts.get(RunState.CANCELLED):
            return ExperimentState.CANCELLED
        return ExperimentState.SUCCEEDED
    if cancelling:
        return ExperimentState.CANCELLING
    if pausing:
        in_hand = counts.get(RunState.RUNNING) or counts.get(RunState.CANCELLING)
        return ExperimentState.PAUSING if in_hand else ExperimentState.PAUSED
    return ExperimentState.QUEUED if counts.get(RunState.QUEUED) == total else ExperimentState.RUNNING
