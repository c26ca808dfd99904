"""Data to be sent to MLflow, and data that were sent."""

from __future__ import annotations

from dataclasses import dataclass

from ipserver.store.records.experiments import ExperimentRecord
from ipserver.store.records.files import ArtifactRecord
from ipserver.store.records.runs import RunRecord
from ipserver.store.states import RunState


@dataclass(frozen=True, slots=True)
class ForwardTask:
    """A run with data that MLflow does not hold yet.

    Attributes:
        attempt: Number of the newest attempt at the run, up to the one that ended it; 0: none.
        after_segment: Id of its pack's newest segment that was sent for this run; 0: none.
        files: Its unpublished files, by path.
    """

    experiment: ExperimentRecord
    run: RunRecord
    attempt: int
    after_segment: int
    files: tuple[ArtifactRecord, ...]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Data of a run that were sent to MLflow.

    Attributes:
        experiment: The experiment's id.
        index: The run's index.
        mlflow_run_id: The run's id in MLflow.
        new: Whether the store did not hold this id when the run was sent.
        segment: Id up to which all segments of its pack were sent; 0: none.
        files: The published files.
        state: The terminal state that was sent, if any.
    """

    experiment: str
    index: int
    mlflow_run_id: str
    new: bool = False
    segment: int = 0
    files: tuple[ArtifactRecord, ...] = ()
    state: RunState | None = None
