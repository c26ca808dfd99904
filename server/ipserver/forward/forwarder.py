"""The forwarder: brings runs, metrics and files from the store to MLflow, at its own pace.

One forwarder works at a time (a named lease). What is sent is marked afterwards, so a crash in between sends
something again, which MLflow takes without doubling it. Training never waits for MLflow.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from google.protobuf import json_format

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver import segments
from ipserver.errors import StoreUnavailable
from ipserver.forward.params import run_params
from ipserver.names import run_name
from ipserver.states import RunState
from ipserver.store import Store
from ipserver.store.records import ForwardTask

_log = logging.getLogger(__name__)
_LEASE = "forwarder"
_LEASE_SECONDS = 30.0
_TASKS = 50
_REST_SECONDS = 0.5
_OUTAGE_SECONDS = 5.0
# A training run is sent now and then; a finished one at once.
_RUNNING_INTERVAL_SECONDS = 10.0

_FINAL_STATUS: Mapping[RunState, str] = {
    RunState.SUCCEEDED: "FINISHED",
    RunState.DIVERGED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.CANCELLED: "KILLED",
}


class Sink(Protocol):
    """What a forwarder needs of MLflow (see `ipserver.forward.mlflow_sink.MlflowSink`)."""

    def run(
        self, experiment: str, name: str, start_ms: int, params: Mapping[str, str], tags: Mapping[str, str]
    ) -> str: ...
    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None: ...
    def log_metrics(self, run_id: str, points: list[tuple[str, float, int, int]]) -> None: ...
    def publish(self, run_id: str, source: Path, path: str) -> None: ...
    def publish_json(self, run_id: str, value: object, path: str) -> None: ...
    def finish(self, run_id: str, status: str, end_ms: int) -> None: ...


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
        sink: Sink,
        artifact_root: Path,
        owner: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._sink = sink
        self._root = artifact_root
        self._owner = owner
        self._monotonic = monotonic
        self._sent_at: dict[tuple[str, int], float] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. An outage of MLflow or of the store is waited out; nothing is lost."""
        while not stop.is_set():
            try:
                busy = self.step(stop)
            except StoreUnavailable as error:
                _log.warning("the store is out of reach: %s", error)
                stop.wait(_OUTAGE_SECONDS)
            except Exception:
                # MLflow raises whatever its transport raises. The marks are in the store: try again later.
                _log.exception("MLflow did not take a run; trying again in %g s", _OUTAGE_SECONDS)
                stop.wait(_OUTAGE_SECONDS)
            else:
                if not busy:
                    stop.wait(_REST_SECONDS)
        self._store.release_lease(_LEASE, self._owner)

    def step(self, stop: threading.Event | None = None) -> bool:
        """Forward some runs, if this forwarder holds (or gets) the lease.

        Returns:
            Whether there was something to do.
        """
        if not self._store.acquire_lease(_LEASE, self._owner, _LEASE_SECONDS):
            return False
        now = self._monotonic()
        self._sent_at = {key: at for key, at in self._sent_at.items() if now - at < _RUNNING_INTERVAL_SECONDS}
        tasks = self._store.forward_tasks(_TASKS, exclude=tuple(self._sent_at))
        for task in tasks:
            if stop is not None and stop.is_set():
                break
            if not self._store.acquire_lease(_LEASE, self._owner, _LEASE_SECONDS):
                break
            self._forward(task)
            if not task.run.state.terminal:
                self._sent_at[task.experiment.id, task.run.index] = now
        return bool(tasks)

    def _forward(self, task: ForwardTask) -> None:
        """Send one run's news: the run itself, new points, new files, its end. In that order, so that a
        run that MLflow calls finished is complete.
        """
        experiment, run = task.experiment, task.run
        mlflow_run = run.mlflow_run_id
        if not mlflow_run:
            spec = ExperimentSpec.FromString(experiment.spec)
            mlflow_run = self._sink.run(
                experiment.id,
                run_name(experiment.id, run.index),
                _milliseconds(run.start_time or experiment.create_time),
                run_params(spec, run),
                {"iplab.spec_hash": experiment.spec_hash, "iplab.uid": experiment.uid, **experiment.labels},
            )
            self._sink.publish_json(mlflow_run, json_format.MessageToDict(spec), "spec.json")
            self._store.set_mlflow_run(experiment.id, run.index, mlflow_run)
        newest = self._send_points(task, mlflow_run)
        self._store.mark_forwarded(experiment.id, run.index, segment=newest)
        self._send_files(task, mlflow_run)
        self._sink.set_tags(mlflow_run, _tags(task))
        if run.state.terminal:
            end = run.end_time or experiment.create_time
            self._sink.finish(mlflow_run, _FINAL_STATUS[run.state], _milliseconds(end))
            self._store.mark_forwarded(experiment.id, run.index, state=run.state)

    def _send_points(self, task: ForwardTask, mlflow_run: str) -> int:
        run = task.run
        newest = task.after_segment
        for segment in self._store.segments(
            task.experiment.id, packs=[run.pack], first_step=0, last_step=None
        ):
            if segment.id <= task.after_segment:
                continue
            points = segments.decode(segment.data)
            own = points.select(points.run == run.index)
            self._sink.log_metrics(
                mlflow_run,
                [
                    (own.metrics[metric], float(value), int(time_ms), int(step))
                    for metric, value, time_ms, step in zip(
                        own.metric, own.value, own.time_ms, own.step, strict=True
                    )
                ],
            )
            newest = max(newest, segment.id)
        return newest

    def _send_files(self, task: ForwardTask, mlflow_run: str) -> None:
        for artifact in self._store.artifacts(task.experiment.id, task.run.index):
            if artifact.path not in task.sent_artifacts:
                self._sink.publish(mlflow_run, self._root / artifact.location, artifact.path)
                self._store.mark_forwarded(task.experiment.id, task.run.index, artifacts=[artifact.path])


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
