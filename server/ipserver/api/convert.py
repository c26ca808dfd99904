"""Converts records of the store to messages of iplab.v1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

from google.protobuf import timestamp_pb2

from ipcore.theory import Regime
from iplab.v1 import experiment_pb2, run_pb2
from ipserver import names
from ipserver.api import theory
from ipserver.request.predict import predicted_regimes, predictions
from ipserver.request.stored import stored_spec
from ipserver.store.records.experiments import EventRecord, ExperimentRecord
from ipserver.store.records.files import ArtifactRecord
from ipserver.store.records.networks import NetworkShape
from ipserver.store.records.runs import AttemptRecord, Failure, RunRecord
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.store.summary import VALUES

_SUMMARY: Final = attrgetter(*VALUES)
Regimes = Mapping[tuple[str, int, str], Regime | None]


def experiment(record: ExperimentRecord) -> experiment_pb2.Experiment:
    """An experiment with its predictions, which can take seconds to compute the first time."""
    message = listed(record)
    message.predictions.extend(theory.prediction(value) for value in predictions(message.spec))
    return message


def listed(record: ExperimentRecord) -> experiment_pb2.Experiment:
    """An experiment without predictions, for listings."""
    spec = stored_spec(record.spec)
    return experiment_pb2.Experiment(
        name=names.experiment_name(record.id),
        uid=record.uid,
        display_name=record.display_name,
        labels=record.labels,
        priority=record.priority,
        spec=spec,
        state=experiment_state(record.state),
        counts=counts(record.counts),
        committed_steps=record.committed_steps,
        total_steps=record.steps * sum(record.counts.values()),
        run_memory_bytes=record.run_memory_bytes,
        warnings=record.warnings,
        spec_hash=record.spec_hash,
        sequence=record.sequence,
        create_time=timestamp(record.create_time),
        start_time=timestamp(record.start_time),
        end_time=timestamp(record.end_time),
        mlflow_pending_runs=record.mlflow_pending_runs,
        project=record.project,
        owner=record.owned_by,
        etag=record.etag,
        notes=record.notes,
        delete_time=timestamp(record.delete_time),
        purge_time=timestamp(record.purge_time),
    )


def counts(per_state: Mapping[RunState, int]) -> experiment_pb2.RunCounts:
    """Number of runs in each state."""
    named = {state.value.lower(): number for state, number in per_state.items()}
    return experiment_pb2.RunCounts(total=sum(named.values()), **named)


def run(record: RunRecord, regimes: Regimes, attempts: Iterable[AttemptRecord] = ()) -> run_pb2.Run:
    """A run, with its attempts if given.

    Args:
        record: The run.
        regimes: `predicted_regimes` of its experiment's spec.
        attempts: Attempts of its pack.
    """
    predicted = regimes[record.parameterization, record.hidden_layers, record.activation]
    return run_pb2.Run(
        name=names.run_name(record.experiment, record.index),
        index=record.index,
        parameterization=record.parameterization,
        **NetworkShape.values_of(record),
        base_learning_rate=record.base_learning_rate,
        seed=record.seed,
        state=run_state(record.state),
        pack=record.pack,
        committed_steps=record.committed_steps,
        steps=record.steps,
        summary=run_pb2.RunSummary(**dict(zip(VALUES, _SUMMARY(record.summary), strict=True))),
        calibrated_rates=record.calibrated_rates,
        failure=_failure(record.failure),
        attempts=[_attempt(attempt) for attempt in attempts],
        start_time=timestamp(record.start_time),
        end_time=timestamp(record.end_time),
        mlflow_run_id=record.mlflow_run_id,
        predicted_regime=theory.regime(predicted),
    )


def regimes(record: ExperimentRecord) -> Regimes:
    """The predicted regimes of the runs of an experiment."""
    return predicted_regimes(stored_spec(record.spec))


def artifact(record: ArtifactRecord) -> run_pb2.Artifact:
    """A file of a run."""
    return run_pb2.Artifact(
        name=names.artifact_name(record.experiment, record.run_index, record.path),
        path=record.path,
        size_bytes=record.size_bytes,
        sha256=record.sha256,
        step=record.step,
        create_time=timestamp(record.create_time),
    )


def event(record: EventRecord) -> experiment_pb2.ExperimentEvent:
    """An event."""
    message = experiment_pb2.ExperimentEvent(sequence=record.sequence, time=timestamp(record.time))
    payload: Mapping[str, Any] = record.payload
    if record.kind == "experiment_state":
        message.experiment_state_changed.state = experiment_state(ExperimentState(payload["state"]))
    elif record.kind == "runs_state":
        message.runs_state_changed.state = run_state(RunState(payload["state"]))
        message.runs_state_changed.run_indices.extend(payload["runs"])
    elif record.kind == "pack_progress":
        message.pack_progressed.CopyFrom(experiment_pb2.PackProgressed(**payload))
    elif record.kind == "extended":
        message.experiment_extended.CopyFrom(experiment_pb2.ExperimentExtended(**payload))
    elif record.kind == "updated":
        message.experiment_updated.CopyFrom(experiment_pb2.ExperimentUpdated(**payload))
    elif record.kind == "notice":
        message.notice.message = payload["message"]
    else:
        raise ValueError(f"event {record.sequence} has the unknown kind {record.kind!r}")
    return message


def experiment_state(state: ExperimentState) -> experiment_pb2.ExperimentState.ValueType:
    """The enum's value."""
    return experiment_pb2.ExperimentState.Value(f"EXPERIMENT_STATE_{state.value}")


def run_state(state: RunState) -> run_pb2.RunState.ValueType:
    """The enum's value."""
    return run_pb2.RunState.Value(f"RUN_STATE_{state.value}")


def timestamp(seconds: float | None) -> timestamp_pb2.Timestamp | None:
    """Seconds since 1970-01-01 UTC, to the microsecond; None stays unset."""
    if seconds is None:
        return None
    message = timestamp_pb2.Timestamp()
    message.FromMicroseconds(round(seconds * 1e6))
    return message


def _reason(reason: FailureReason | None) -> run_pb2.FailureReason.ValueType:
    return run_pb2.FailureReason.Value(f"FAILURE_REASON_{reason.value if reason else 'UNSPECIFIED'}")


def _failure(failure: Failure | None) -> run_pb2.Failure | None:
    if failure is None:
        return None
    return run_pb2.Failure(
        reason=_reason(failure.reason),
        message=failure.message,
        traceback=failure.traceback,
        log_tail=failure.log_tail,
    )


def _attempt(record: AttemptRecord) -> run_pb2.Attempt:
    return run_pb2.Attempt(
        number=record.number,
        token=record.token,
        owner=record.owner,
        first_step=record.first_step,
        start_time=timestamp(record.start_time),
        end_time=timestamp(record.end_time),
        end_reason=_reason(record.end_reason),
    )
