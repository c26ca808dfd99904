"""What is to be sent of one run: computed from what the store says, without MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf import json_format

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver.forward.history import News, Point
from ipserver.forward.params import run_params
from ipserver.names import run_name
from ipserver.request.predict import predicted_regimes
from ipserver.request.stored import stored_spec
from ipserver.store.records import ArtifactRecord, ForwardTask, RunRecord
from ipserver.store.states import RunState
from ipserver.store.summary import RULES

_FINAL_STATUS: Mapping[RunState, str] = {
    RunState.SUCCEEDED: "FINISHED",
    RunState.DIVERGED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.CANCELLED: "KILLED",
}
_KNOWN_SPECS = 16


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        state: Its terminal state.
        status: What MLflow calls it: "FINISHED", "FAILED" or "KILLED".
        time_ms: When, in milliseconds since 1970-01-01 UTC.
    """

    state: RunState
    status: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class First:
    """What MLflow is told of a run but once.

    Attributes:
        start_ms: Its start, in milliseconds since 1970-01-01 UTC.
        params: The spec, flattened to this run.
        tags: Tags that never change.
        spec: The experiment's spec as JSON.
    """

    start_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    spec: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """A run's news.

    Attributes:
        experiment: The experiment's id.
        index: The run's index.
        name: The run's resource name.
        mlflow_run_id: "": MLflow does not have it, as far as the store knows.
        first: What comes with the run's creation, where it is not known to be there.
        tags: Tags that say how far it is.
        points: Metric points.
        newest: Id of the newest segment that they come from.
        files: Files to be published.
        end: How it ended, if it has and this parcel holds all that was left of it.
    """

    experiment: str
    index: int
    name: str
    mlflow_run_id: str
    first: First | None
    tags: Mapping[str, str]
    points: list[Point]
    newest: int
    files: tuple[ArtifactRecord, ...]
    end: End | None


def parcel(task: ForwardTask, news: News) -> Parcel:
    """What is to be sent of a run now; of a long history a part, and files and the end with the last part."""
    experiment, run = task.experiment, task.run
    ended = news.complete and run.state.terminal
    return Parcel(
        experiment=experiment.id,
        index=run.index,
        name=run_name(experiment.id, run.index),
        mlflow_run_id=run.mlflow_run_id,
        first=None if run.mlflow_run_id else _first(task),
        tags=_tags(task),
        points=news.points + _best(run) if ended else news.points,
        newest=news.newest,
        files=task.files if news.complete else (),
        end=_end(task) if ended else None,
    )


def _end(task: ForwardTask) -> End:
    state = task.run.state
    return End(state, _FINAL_STATUS[state], _milliseconds(task.run.end_time or task.experiment.create_time))


def _first(task: ForwardTask) -> First:
    spec, text = _spec(task.experiment.spec)
    return First(
        start_ms=_milliseconds(task.run.start_time or task.experiment.create_time),
        params=run_params(spec, task.run),
        # The user's labels cannot hide ours.
        tags={
            **task.experiment.labels,
            "iplab.spec_hash": task.experiment.spec_hash,
            "iplab.uid": task.experiment.uid,
            "iplab.predicted_regime": _predicted(spec, task.run),
        },
        spec=text,
    )


@lru_cache(maxsize=_KNOWN_SPECS)
def _spec(stored: bytes) -> tuple[ExperimentSpec, str]:
    """A spec, and its JSON: with thousands of seeds they take longer to make than a run to send."""
    spec = stored_spec(stored)
    return spec, json_format.MessageToJson(spec, preserving_proto_field_name=True)


def _predicted(spec: ExperimentSpec, run: RunRecord) -> str:
    """What theory predicts for a run, or "not covered"."""
    regime = predicted_regimes(spec)[run.parameterization, run.hidden_layers, run.activation]
    return regime.value if regime else "not covered"


def _tags(task: ForwardTask) -> dict[str, str]:
    run = task.run
    tags = {"iplab.state": run.state.value, "iplab.pack": run.pack, "iplab.attempt": str(task.attempt)}
    if run.failure:
        tags |= {"iplab.failure": f"{run.failure.reason.value}: {run.failure.message}"[:500]}
    if run.summary.diverged_step is not None:
        tags |= {"iplab.diverged_step": str(run.summary.diverged_step)}
    return tags


def _best(run: RunRecord) -> list[Point]:
    """What was best by validation, as points at its step, so that MLflow can sort and compare runs by it."""
    step, time = run.summary.best_validation_step, run.end_time
    if step is None or time is None:
        return []
    values = {name: getattr(run.summary, name) for name, rule in RULES.items() if rule.forwarded}
    return [(name, value, _milliseconds(time), step) for name, value in values.items() if value is not None]


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
