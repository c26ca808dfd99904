"""Runs: as accepted and as stored; the attempts at them."""

from __future__ import annotations

from dataclasses import dataclass

from ipserver.store.records.networks import NetworkShape
from ipserver.store.states import FailureReason, RunState
from ipserver.store.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun(NetworkShape):
    """A run of an accepted experiment: one point of the grid."""

    index: int
    parameterization: str
    base_learning_rate: float
    seed: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Reason and details of a failed run or attempt."""

    reason: FailureReason
    message: str
    traceback: str = ""
    log_tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(NetworkShape):
    """A run, as stored."""

    experiment: str
    index: int
    parameterization: str
    base_learning_rate: float
    seed: int
    state: RunState
    pack: str
    committed_steps: int
    steps: int
    summary: Summary
    calibrated_rates: tuple[float, ...]
    failure: Failure | None
    start_time: float | None
    end_time: float | None
    mlflow_run_id: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One assignment of a pack to a worker."""

    number: int
    token: int
    owner: str
    first_step: int
    start_time: float
    end_time: float | None
    end_reason: FailureReason | None
