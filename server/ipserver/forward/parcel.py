"""A run's data to be sent, computed from the store's records without MLflow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf import json_format

from ipcore.catalogue.widths import width_of
from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver.forward.history import News, Point
from ipserver.forward.markdown import shown_as
from ipserver.forward.params import fitting, run_params
from ipserver.names import lineage, run_name
from ipserver.request.predict import predicted_regimes
from ipserver.request.stored import stored_spec
from ipserver.store.records.files import ArtifactRecord
from ipserver.store.records.forwarding import ForwardTask
from ipserver.store.records.runs import RunRecord
from ipserver.store.states import RunState
from ipserver.store.summary import RULES

# A diverged run has no final result, so MLflow shows it as failed, and searches for
# `attributes.status = 'FINISHED'` do not find it. The tag iplab.state distinguishes it from a failed run.
_FINAL_STATUS: Mapping[RunState, str] = {
    RunState.SUCCEEDED: "FINISHED",
    RunState.DIVERGED: "FAILED",
    RunState.FAILED: "FAILED",
    RunState.CANCELLED: "KILLED",
}
_KNOWN_SPECS = 16
# Tells MLflow's page that the experiment is about training, not traces of GenAI.
_KIND = {"mlflow.experimentKind": "custom_model_development"}


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes:
        state: Its terminal state.
        status: MLflow's status: "FINISHED", "FAILED" or "KILLED".
        time_ms: End time in milliseconds since 1970-01-01 UTC.
    """

    state: RunState
    status: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class First:
    """Data of a run that are sent to MLflow only once.

    Attributes:
        title: How MLflow shows the run: "mup m=64 seed=0 eta=0.1 relu L=3".
        start_ms: Start time in milliseconds since 1970-01-01 UTC.
        params: The spec, flattened for this run.
        tags: Tags that never change.
        spec: The experiment's spec as JSON.
        experiment_tags: Tags of a new experiment in MLflow.
        dataset: Name and digest of what it trains on.
    """

    title: str
    start_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    spec: str
    experiment_tags: Mapping[str, str]
    dataset: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A run's new data for MLflow.

    Attributes:
        experiment: The experiment's id.
        index: The run's index.
        name: The run's resource name.
        mlflow_run_id: The run's id in MLflow; "" if the store holds none.
        first: Data for the run's creation; None if the run is known to exist in MLflow.
        params: Parameters that become known while it trains.
        tags: Tags that describe the run's progress.
        points: Metric points.
        newest: Id of the newest segment that the points come from.
        files: Files to publish.
        end: The run's end; None unless it has ended and this parcel holds all its remaining data.
    """

    experiment: str
    index: int
    name: str
    mlflow_run_id: str
    first: First | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: list[Point]
    newest: int
    files: tuple[ArtifactRecord, ...]
    end: End | None


def parcel(task: ForwardTask, news: News) -> Parcel:
    """A run's next data to send. A long history is split; files and the end are sent with its last part."""
    experiment, run = task.experiment, task.run
    ended = news.complete and run.state.terminal
    return Parcel(
        experiment=experiment.id,
        index=run.index,
        name=run_name(experiment.id, run.index),
        mlflow_run_id=run.mlflow_run_id,
        first=None if run.mlflow_run_id else _first(task),
        params=_later_params(run) if ended else {},
        tags=_tags(task, ended=ended),
        points=[*news.points, *_best(run), *_outcome(run)] if ended else news.points,
        newest=news.newest,
        files=task.files if news.complete else (),
        end=_end(task) if ended else None,
    )


def _end(task: ForwardTask) -> End:
    state = task.run.state
    return End(state, _FINAL_STATUS[state], _milliseconds(task.run.end_time or task.experiment.create_time))


def _first(task: ForwardTask) -> First:
    spec, text = _spec(task.experiment.spec)
    experiment = task.experiment
    return First(
        title=_title(task.run),
        start_ms=_milliseconds(task.run.start_time or task.experiment.create_time),
        params=run_params(spec, task.run),
        # Our tags override the user's labels.
        tags={
            **task.experiment.labels,
            "iplab.spec_hash": task.experiment.spec_hash,
            "iplab.uid": task.experiment.uid,
            "iplab.predicted_regime": _predicted(spec, task.run),
        },
        spec=text,
        experiment_tags={**experiment.labels, **_named(experiment.display_name), "iplab.uid": experiment.uid}
        | _KIND,
        dataset=(spec.dataset, _digest(spec.dataset, experiment.dataset_sha256)),
    )


def _named(display_name: str) -> Mapping[str, str]:
    """Tags with the display name, if there is one. MLflow shows the note above an experiment's runs."""
    if not display_name:
        return {}
    return {"mlflow.note.content": shown_as(display_name), "iplab.display_name": display_name}


def _title(run: RunRecord) -> str:
    """Name of a run. Values that differ most come first, because tables cut names after about 20 letters."""
    return (
        f"{run.parameterization} m={width_of(run.width)} seed={run.seed} eta={run.base_learning_rate:g} "
        f"{run.activation} L={run.hidden_layers}"
    )


def _digest(name: str, sha256: str | None) -> str:
    """Digest of a registered file's numbers, or else of the name, which determines all other datasets.

    MLflow takes up to 36 characters.
    """
    return (sha256 or hashlib.sha256(name.encode()).hexdigest())[:16]


def _later_params(run: RunRecord) -> dict[str, str]:
    """Calibrated rates of step 0, from the first layer to the last."""
    if not run.calibrated_rates:
        return {}
    return dict(fitting("calibrated_rates", " ".join(f"{rate:.6g}" for rate in run.calibrated_rates)))


@lru_cache(maxsize=_KNOWN_SPECS)
def _spec(stored: bytes) -> tuple[ExperimentSpec, str]:
    """A spec and its JSON, cached: with thousands of seeds, conversion takes longer than sending a run."""
    spec = stored_spec(stored)
    return spec, json_format.MessageToJson(spec, preserving_proto_field_name=True)


def _predicted(spec: ExperimentSpec, run: RunRecord) -> str:
    """The regime that theory predicts for a run, or "not covered"."""
    regime = predicted_regimes(spec)[run.parameterization, run.hidden_layers, run.activation]
    return regime.value if regime else "not covered"


def _tags(task: ForwardTask, *, ended: bool) -> dict[str, str]:
    run = task.run
    tags = {"iplab.state": run.state.value, "iplab.pack": run.pack, "iplab.attempt": str(task.attempt)}
    if run.failure:
        tags |= {"iplab.failure": f"{run.failure.reason.value}: {run.failure.message}"[:500]}
    elif len(lineage(run.pack)) > 1:  # it may have been retried
        tags |= {"iplab.failure": ""}
    if run.summary.diverged_step is not None:
        tags |= {"iplab.diverged_step": str(run.summary.diverged_step)}
    if ended and run.state is RunState.DIVERGED:
        # A mark for places where MLflow shows only names, such as legends. A longer mark would hide the seed
        # in its table.
        tags["mlflow.runName"] = f"✗ {_title(run)}"
        tags["mlflow.note.content"] = (
            f"Diverged: its loss was not finite at step {run.summary.diverged_step}."
        )
    return tags


def _best(run: RunRecord) -> list[Point]:
    """The summary's best values as points at their step, so that MLflow can sort and compare runs by them."""
    step, time = run.summary.best_validation_step, run.end_time
    if step is None or time is None or run.state is RunState.FAILED:  # a failed run may be retried
        return []
    values = {name: getattr(run.summary, name) for name, rule in RULES.items() if rule.forwarded}
    return [(name, value, _milliseconds(time), step) for name, value in values.items() if value is not None]


def _outcome(run: RunRecord) -> list[Point]:
    """The metric "diverged" of a run that trained to its end, 1 or 0: tables can be sorted by it."""
    if run.state not in {RunState.SUCCEEDED, RunState.DIVERGED} or run.end_time is None:
        return []
    diverged = float(run.state is RunState.DIVERGED)
    return [("diverged", diverged, _milliseconds(run.end_time), run.committed_steps)]


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
