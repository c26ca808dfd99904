"""The forwarder: brings runs, metrics and files from the store to MLflow, at its own pace.

One forwarder works at a time (a named lease). What is sent is marked afterwards, so a crash in between sends
something again, which MLflow takes without doubling it. Training never waits for MLflow.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path

from google.protobuf import json_format

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver import segments
from ipserver.errors import StoreUnavailable
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.forward.params import run_params
from ipserver.names import run_name
from ipserver.spec.predict import predicted_regimes
from ipserver.states import RunState
from ipserver.store import Store
from ipserver.store.records import ForwardTask, RunRecord

_log = logging.getLogger(__name__)
_LEASE = "forwarder"
_LEASE_SECONDS = 30.0
_TASKS = 50
_REST_SECONDS = 0.5
_OUTAGE_SECONDS = 2.0
# A training run is sent now and then; a finished one at once.
_RUNNING_INTERVAL_SECONDS = 10.0
_RETRY_SECONDS = 30.0

_FINAL_STATUS: Mapping[RunState, str] = {
    RunState.SUCCEEDED: "FINISHED",
    RunState.DIVERGED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.CANCELLED: "KILLED",
}


class Pass(Enum):
    """How a pass over the store went."""

    BUSY = "something was sent"
    IDLE = "there was nothing to send"
    TROUBLE = "MLflow or the store did not answer"


class Forwarder:
    """Forwards until MLflow holds everything.

    Args:
        store: Where the truth is.
        sink: MLflow.
        artifact_root: Folder that artifact locations are relative to.
        owner: Name of this forwarder in its lease.
        monotonic: Clock for intervals, in seconds.
    """

    def __init__(
        self,
        store: Store,
        sink: MlflowSink,
        artifact_root: Path,
        owner: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._sink = sink
        self._root = artifact_root
        self._owner = owner
        self._monotonic = monotonic
        self._not_before: dict[tuple[str, int], float] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. An outage of MLflow or of the store is waited out; nothing is lost."""
        while not stop.is_set():
            try:
                outcome = self.step(stop)
            except StoreUnavailable as error:
                _log.warning("the store is out of reach: %s", error)
                outcome = Pass.TROUBLE
            if outcome is not Pass.BUSY:
                stop.wait(_REST_SECONDS if outcome is Pass.IDLE else _OUTAGE_SECONDS)
        self._store.release_lease(_LEASE, self._owner)

    def step(self, stop: threading.Event | None = None) -> Pass:
        """Forward some runs, if this forwarder holds (or gets) the lease.

        A run that MLflow does not take is set aside for a while, so that it does not hold up the others.
        """
        now = self._monotonic()
        self._not_before = {key: until for key, until in self._not_before.items() if until > now}
        tasks = []
        if self._store.acquire_lease(_LEASE, self._owner, _LEASE_SECONDS):
            tasks = self._store.forward_tasks(_TASKS, exclude=tuple(self._not_before))
        for task in tasks:
            if stop is not None and stop.is_set():
                break
            if not self._store.acquire_lease(_LEASE, self._owner, _LEASE_SECONDS):
                break
            name = run_name(task.experiment.id, task.run.index)
            try:
                self._forward(task)
            except StoreUnavailable:
                raise
            except Exception:
                # MLflow raises whatever its transport raises. The marks are in the store: nothing is lost.
                _log.exception("MLflow did not take %s; it is tried again later", name)
                self._not_before[task.experiment.id, task.run.index] = now + _RETRY_SECONDS
                return Pass.TROUBLE
            if not task.run.state.terminal:
                self._not_before[task.experiment.id, task.run.index] = now + _RUNNING_INTERVAL_SECONDS
        return Pass.BUSY if tasks else Pass.IDLE

    def _forward(self, task: ForwardTask) -> None:
        """Send one run's news; its end comes last, so a run that MLflow calls finished is complete."""
        experiment, run = task.experiment, task.run
        spec = ExperimentSpec.FromString(experiment.spec)
        newest, points = self._points(task)
        if run.mlflow_run_id:
            mlflow_run = run.mlflow_run_id
            self._sink.send(mlflow_run, {}, _tags(task), points)
        else:
            name = run_name(experiment.id, run.index)
            start = _milliseconds(run.start_time or experiment.create_time)
            mlflow_run = self._sink.run(experiment.id, name, start, _first_tags(task, spec))
            self._sink.send(mlflow_run, run_params(spec, run), _tags(task), points)
            text = json_format.MessageToJson(spec, preserving_proto_field_name=True)
            self._sink.publish_text(mlflow_run, text, "spec.json")
            self._store.set_mlflow_run(experiment.id, run.index, mlflow_run)
        sent = []
        for artifact in self._store.artifacts(experiment.id, run.index):
            if artifact.path not in task.sent_artifacts:
                self._sink.publish(mlflow_run, self._root / artifact.location, artifact.path)
                sent.append(artifact.path)
        final = run.state if run.state.terminal else None
        if final:
            end = _milliseconds(run.end_time or experiment.create_time)
            self._sink.finish(mlflow_run, _FINAL_STATUS[final], end)
        self._store.mark_forwarded(experiment.id, run.index, segment=newest, artifacts=sent, state=final)

    def _points(self, task: ForwardTask) -> tuple[int, list[tuple[str, float, int, int]]]:
        """The run's points that were not sent yet, and the newest segment that they come from."""
        newest = task.after_segment
        points: list[tuple[str, float, int, int]] = []
        history = self._store.segments(
            task.experiment.id, packs=[task.run.pack], first_step=0, last_step=None
        )
        for segment in history:
            if segment.id <= task.after_segment:
                continue
            block = segments.decode(segment.data)
            own = block.select(block.run == task.run.index)
            columns = zip(own.metric, own.value, own.time_ms, own.step, strict=True)
            points += [(own.metrics[m], float(v), int(time_ms), int(step)) for m, v, time_ms, step in columns]
            newest = max(newest, segment.id)
        return newest, points


def _first_tags(task: ForwardTask, spec: ExperimentSpec) -> dict[str, str]:
    """Tags that never change; the user's labels cannot hide them."""
    return {
        **task.experiment.labels,
        "iplab.spec_hash": task.experiment.spec_hash,
        "iplab.uid": task.experiment.uid,
        "iplab.predicted_regime": _predicted(spec, task.run),
    }


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


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
