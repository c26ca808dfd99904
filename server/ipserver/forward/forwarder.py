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
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import Enum

from ipserver.artifacts import open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.errors import StoreUnavailable
from ipserver.forward.backoff import Backoff
from ipserver.forward.delivery import deliver
from ipserver.forward.history import History
from ipserver.forward.marks import Marks, TakenOver
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.forward.pace import Pace
from ipserver.forward.parcel import parcel
from ipserver.names import run_name
from ipserver.store import Store
from ipserver.store.records import Forwarded, ForwardTask

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


class Pass(Enum):
    """How a pass over the store went."""

    BUSY = "something was sent"
    IDLE = "there was nothing to send"
    TROUBLE = "MLflow or the store did not answer"


@dataclass(slots=True)
class _Results:
    """What became of the runs of a pass.

    Attributes:
        taken: Experiments of which MLflow took a run.
        refused: Refusals in a row, by experiment.
    """

    taken: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)


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
        self._leasing = threading.Lock()
        self._pace = Pace(points_per_second, monotonic, sleep)
        self._artifacts = open_artifacts(artifact_root)
        self._owner = owner
        self._monotonic = monotonic
        self._marks = Marks(store, sink, monotonic)
        self._threads = ThreadPoolExecutor(sink.parallel, thread_name_prefix="send")
        self._turn = ""  # the experiment that was served last
        self._refused_runs = Backoff[tuple[str, int]](*_RUN_RESTS)
        self._refused_experiments = Backoff[str](*_EXPERIMENT_RESTS)
        self._taken: dict[str, float] = {}  # when MLflow last took a run, by experiment

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

        Experiments take turns, so that a large one does not hold up the end of a small one. A run that MLflow
        does not take rests for a while, and so does an experiment several of whose runs it does not take; the
        pass goes on with the others. If none are left, it is an outage.

        Returns:
            TROUBLE: MLflow took nothing, or may not keep it.
        """
        now = self._monotonic()
        self._taken = {name: at for name, at in self._taken.items() if at + _RUN_RESTS[1] > now}
        if not self._renew():
            return Pass.IDLE
        tasks = self._store.forward_tasks(
            _TASKS,
            after=self._turn,
            exclude=self._refused_runs.resting(now),
            exclude_experiments=self._refused_experiments.resting(now),
            interval=_RUNNING_INTERVAL_SECONDS,
        )
        if not tasks:
            return Pass.IDLE
        self._turn = tasks[-1].experiment.id
        results = _Results()
        try:
            self._send(tasks, results, stop)
        except TakenOver as error:
            _log.warning("another forwarder works: %s", error)
        except OSError as error:
            _log.warning("MLflow may not keep what was sent, so it is sent again: %s", error)
            return Pass.TROUBLE
        return Pass.TROUBLE if results.refused and not results.taken else Pass.BUSY

    def _renew(self) -> bool:
        """Whether this forwarder holds (or gets) the lease, for its whole time from now."""
        now = self._monotonic()
        if not self._store.acquire_lease(_LEASE, self._owner, self._lease_seconds):
            return False
        self._leased = now
        return True

    def _holds(self) -> bool:
        """Whether this forwarder still holds the lease; renews it when a third of its time is over."""
        with self._leasing:
            return self._monotonic() - self._leased <= self._lease_seconds / 3 or self._renew()

    def _before_batch(self, points: int) -> None:
        """Keep the pace, and the lease; a forwarder that was stopped for too long must not go on."""
        self._pace.take(points)
        self._beat()
        if not self._holds():
            raise TakenOver("the lease has run out")

    def _send(self, tasks: list[ForwardTask], results: _Results, stop: threading.Event | None) -> None:
        """Send runs, as many at once as MLflow gains by, and mark them."""
        history = History(self._store)
        under_way: deque[tuple[ForwardTask, Future[Forwarded]]] = deque()
        try:
            # Runs that share a reading of their pack's history one after another.
            for task in sorted(tasks, key=_reading_order):
                self._beat()
                if results.refused[task.experiment.id] >= _PATIENCE:
                    continue
                if (stop is not None and stop.is_set()) or not self._holds():
                    break
                under_way.append((task, self._start(task, history)))
                if len(under_way) == self._sink.parallel:
                    self._settle(*under_way.popleft(), results)
        finally:
            wait(sending for _, sending in under_way)
            try:
                for task, sending in under_way:
                    self._settle(task, sending, results)
            finally:
                self._marks.save()

    def _start(self, task: ForwardTask, history: History) -> Future[Forwarded]:
        """Send a run in a thread of its own; what it is to be is found out in this one."""
        try:
            news = parcel(task, history.news(task))
        except StoreUnavailable:
            raise
        except Exception as error:
            # As if MLflow had refused it: others go on.
            failed: Future[Forwarded] = Future()
            failed.set_exception(error)
            return failed
        return self._threads.submit(deliver, news, self._sink, self._artifacts, self._before_batch)

    def _settle(self, task: ForwardTask, sending: Future[Forwarded], results: _Results) -> None:
        """Wait until a run was sent; if MLflow did not take it, it rests, and perhaps its experiment too."""
        experiment, key = task.experiment.id, (task.experiment.id, task.run.index)
        try:
            sent = sending.result()
        except (StoreUnavailable, TakenOver):
            raise
        except Exception as error:
            # MLflow raises whatever its transport raises. The marks are in the store: nothing is lost.
            now = self._monotonic()
            name = run_name(*key)
            self._sink.forget(experiment, name)
            rest = self._refused_runs.failed(key, now, self._taken.get(experiment, -float("inf")))
            # One traceback is enough.
            new = rest == _RUN_RESTS[0]
            _log.warning("MLflow did not take %s: %s; next try in %g s", name, error, rest, exc_info=new)
            results.refused[experiment] += 1
            if results.refused[experiment] == _PATIENCE:
                self._refused_experiments.failed(experiment, now)
            return
        results.taken.add(experiment)
        results.refused[experiment] = 0
        self._taken[experiment] = self._monotonic()
        self._refused_runs.succeeded(key)
        self._refused_experiments.succeeded(experiment)
        self._marks.add(sent)


def _reading_order(task: ForwardTask) -> tuple[float, str, str, int]:
    return task.experiment.create_time, task.experiment.id, task.run.pack, task.after_segment
