"""The forwarder: brings runs, metrics and files from the store to MLflow, at its own pace.

One forwarder works at a time (a named lease). What is sent is marked afterwards, so a crash in between sends
something again, which MLflow takes without doubling it. Training never waits for MLflow.

What MLflow does not take (a run whose file is lost, an experiment that somebody deleted there) is tried again
after growing rests and does not hold up the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum

from google.protobuf import json_format

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver import failpoints
from ipserver.artifacts import ArtifactRoot, open_artifacts
from ipserver.errors import StoreUnavailable
from ipserver.forward.backoff import Backoff
from ipserver.forward.history import History
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.forward.pace import Pace
from ipserver.forward.params import run_params
from ipserver.names import run_name
from ipserver.spec.predict import predicted_regimes
from ipserver.states import RunState
from ipserver.store import Store
from ipserver.store.records import ForwardTask, RunRecord

_log = logging.getLogger(__name__)
_LEASE = "forwarder"
_TASKS = 50
_REST_SECONDS = 0.5
_OUTAGE_SECONDS = 2.0
# A training run is sent now and then; a finished one at once.
_RUNNING_INTERVAL_SECONDS = 10.0
# Rests of what MLflow did not take. An experiment rests when this many of its runs were refused in a row. Its
# rests are shorter than those of a run, so that they end with other runs of it.
_PATIENCE = 3
_EXPERIMENT_RESTS = (2.0, 60.0)
_RUN_RESTS = (30.0, 600.0)

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


class _TakenOver(Exception):
    """Another forwarder has taken this one's place, because it was silent for too long."""


class Forwarder:
    """Forwards until MLflow holds everything.

    Args:
        store: Where the truth is.
        sink: MLflow.
        artifact_root: Where artifacts' files lie.
        owner: Name of this forwarder in its lease.
        monotonic: Clock for intervals, in seconds.
        lease_seconds: How long another forwarder waits for this one if it is silent.
        beat: Called with every pass, run and batch: a sign of life.
        points_per_second: Most points that go to MLflow, on average.
        sleep: Rests, in seconds, to keep that pace.
    """

    def __init__(
        self,
        store: Store,
        sink: MlflowSink,
        artifact_root: ArtifactRoot,
        owner: str,
        monotonic: Callable[[], float] = time.monotonic,
        lease_seconds: float = 30.0,
        beat: Callable[[], None] = lambda: None,
        points_per_second: float = 5000.0,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store = store
        self._sink = sink
        self._lease_seconds = lease_seconds
        self._beat = beat
        self._leased = -float("inf")  # when the lease was renewed last
        self._pace = Pace(points_per_second, monotonic, sleep)
        self._artifacts = open_artifacts(artifact_root)
        self._owner = owner
        self._monotonic = monotonic
        self._not_before: dict[tuple[str, int], float] = {}
        self._refused_runs = Backoff[tuple[str, int]](*_RUN_RESTS)
        self._refused_experiments = Backoff[str](*_EXPERIMENT_RESTS)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. An outage of MLflow or of the store is waited out; nothing is lost."""
        while not stop.is_set():
            self._beat()
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

        A run that MLflow does not take rests for a while, and so does an experiment several of whose runs it
        does not take; the pass goes on with the others. If none are left, it is an outage.

        Returns:
            TROUBLE: MLflow took nothing, of several experiments or of the only one.
        """
        now = self._monotonic()
        self._not_before = {key: until for key, until in self._not_before.items() if until > now}
        if not self._renew():
            return Pass.IDLE
        tasks = self._store.forward_tasks(
            _TASKS,
            exclude=self._refused_runs.resting(now),
            exclude_running=tuple(self._not_before),
            exclude_experiments=self._refused_experiments.resting(now),
        )
        # Oldest experiment first, and runs that share a reading of their pack's history one after another.
        tasks.sort(key=_reading_order)
        history = History(self._store)
        taken: set[str] = set()
        refused: Counter[str] = Counter()  # in a row, by experiment
        for task in tasks:
            self._beat()
            experiment = task.experiment.id
            if refused[experiment] == _PATIENCE:
                continue
            if stop is not None and stop.is_set():
                break
            if not self._holds():
                break
            try:
                done = self._try(task, history)
            except _TakenOver as error:
                _log.warning("another forwarder works: %s", error)
                break
            if done:
                taken.add(experiment)
                refused[experiment] = 0
                self._refused_experiments.succeeded(experiment)
            else:
                refused[experiment] += 1
                if refused[experiment] == _PATIENCE:
                    self._refused_experiments.failed(experiment, self._monotonic())
        # A full pass with runs of one experiment alone says nothing of the others, which come next.
        if refused and not taken and (len(refused) > 1 or len(tasks) < _TASKS):
            return Pass.TROUBLE
        return Pass.BUSY if tasks else Pass.IDLE

    def _renew(self) -> bool:
        """Whether this forwarder holds (or gets) the lease, for its whole time from now."""
        now = self._monotonic()
        if not self._store.acquire_lease(_LEASE, self._owner, self._lease_seconds):
            return False
        self._leased = now
        return True

    def _holds(self) -> bool:
        """Whether this forwarder still holds the lease; renews it when a third of its time is over."""
        return self._monotonic() - self._leased <= self._lease_seconds / 3 or self._renew()

    def _before_batch(self, points: int) -> None:
        """Keep the pace, and the lease; a forwarder that was stopped for too long must not go on."""
        self._pace.take(points)
        self._beat()
        if not self._holds():
            raise _TakenOver("the lease has run out")

    def _try(self, task: ForwardTask, history: History) -> bool:
        """Forward one run; False if MLflow does not take it, and then the run rests."""
        experiment, key = task.experiment.id, (task.experiment.id, task.run.index)
        try:
            with failpoints.around("send"):
                self._forward(task, history)
        except (StoreUnavailable, _TakenOver):
            raise
        except Exception as error:
            # MLflow raises whatever its transport raises. The marks are in the store: nothing is lost.
            self._sink.forget(experiment)
            rest = self._refused_runs.failed(key, self._monotonic())
            name = run_name(experiment, task.run.index)
            # One traceback is enough.
            new = rest == _RUN_RESTS[0]
            _log.warning("MLflow did not take %s: %s; next try in %g s", name, error, rest, exc_info=new)
            return False
        self._refused_runs.succeeded(key)
        if not task.run.state.terminal:
            self._not_before[key] = self._monotonic() + _RUNNING_INTERVAL_SECONDS
        return True

    def _forward(self, task: ForwardTask, history: History) -> None:
        """Send one run's news; its end comes last, so a run that MLflow calls finished is complete."""
        experiment, run = task.experiment, task.run
        spec = ExperimentSpec.FromString(experiment.spec)
        news = history.news(task)
        if run.mlflow_run_id:
            mlflow_run = run.mlflow_run_id
            self._sink.send(mlflow_run, {}, _tags(task), news.points, self._before_batch)
        else:
            name = run_name(experiment.id, run.index)
            start = _milliseconds(run.start_time or experiment.create_time)
            tags = _tags(task)
            # MLflow takes tags quickly with a run's creation, and slowly one by one.
            mlflow_run, new = self._sink.run(experiment.id, name, start, _first_tags(task, spec) | tags)
            params = run_params(spec, run)
            self._sink.send(mlflow_run, params, {} if new else tags, news.points, self._before_batch)
            text = json_format.MessageToJson(spec, preserving_proto_field_name=True)
            self._sink.publish_text(mlflow_run, text, "spec.json")
            noted = self._store.set_mlflow_run(experiment.id, run.index, mlflow_run)
            if noted != mlflow_run:
                self._sink.discard(mlflow_run)
                raise _TakenOver(f"{name} has the id {noted} in MLflow by now, not {mlflow_run}")
        failpoints.hit("send.during")
        if not news.complete:
            self._store.mark_forwarded(experiment.id, run.index, segment=news.newest)
            return
        sent = []
        for artifact in self._store.artifacts(experiment.id, run.index):
            if artifact.path not in task.sent_artifacts:
                with self._artifacts.reading(artifact.location, artifact.sha256) as file:
                    self._sink.publish(mlflow_run, file, artifact.path)
                sent.append(artifact.path)
        final = run.state if run.state.terminal else None
        if final:
            if best := _best(task):
                self._sink.send(mlflow_run, {}, {}, best)
            end = _milliseconds(run.end_time or experiment.create_time)
            self._sink.finish(mlflow_run, _FINAL_STATUS[final], end)
        self._store.mark_forwarded(experiment.id, run.index, segment=news.newest, artifacts=sent, state=final)


def _reading_order(task: ForwardTask) -> tuple[float, str, str, int]:
    return task.experiment.create_time, task.experiment.id, task.run.pack, task.after_segment


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


def _best(task: ForwardTask) -> list[tuple[str, float, int, int]]:
    """What was best by validation, as points at its step, so that MLflow can sort and compare runs by it."""
    summary = task.run.summary
    step, time = summary.best_validation_step, task.run.end_time
    if step is None or time is None:
        return []
    values = {
        "best_validation_loss": summary.best_validation_loss,
        "best_validation_accuracy": summary.best_validation_accuracy,
        "test_loss_at_best_validation": summary.test_loss_at_best_validation,
        "test_accuracy_at_best_validation": summary.test_accuracy_at_best_validation,
    }
    return [(name, value, _milliseconds(time), step) for name, value in values.items() if value is not None]


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
