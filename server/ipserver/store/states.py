"""States of experiments, runs, packs and studies. The API's are generated from its protos."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from iplab.v1.states import ExperimentState, FailureReason, RunState, StudyState

__all__ = ["ExperimentState", "FailureReason", "PackState", "RunState", "StudyState", "experiment_state"]


class PackState(StrEnum):
    """State of a pack."""

    QUEUED = "QUEUED"
    LEASED = "LEASED"
    DONE = "DONE"

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return self is PackState.DONE


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
