"""The forwarder: sends runs, metrics and files from the store to MLflow at its own pace.

One forwarder works at a time, under a named lease. Data are marked as sent afterwards. A crash in between
only causes some data to be sent again, and MLflow does not duplicate them. Training never waits for MLflow.

Data that MLflow refuses (a run whose file is lost, an experiment deleted in MLflow) are tried again after
growing delays and do not hold up other runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import Enum

from ipserver.artifacts import open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.environment.log_scope import about
from ipserver.errors import StoreUnavailable
from ipserver.forward.backoff import Backoff
from ipserver.forward.delivery import deliver
from ipserver.forward.history import History
from ipserver.forward.marks import Marks, TakenOver
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.forward.observing import IGNORE, Observer
from ipserver.forward.pace import Pace
from ipserver.forward.parcel import parcel
from ipserver.forward.report import report_files
from ipserver.names import run_name
from ipserver.store import Store
from ipserver.store.records.forwarding import Forwarded, ForwardTask

_log = logging.getLogger(__name__)
_LEASE = "forwarder"
_TASKS = 50
_REST_SECONDS = 0.5
_OUTAGE_SECONDS = 2.0
# A training run is sent at this interval; a finished one at once.
_RUNNING_INTERVAL_SECONDS = 10.0
# Delays after MLflow refused data. An experiment is delayed when this many of its runs were refused in a row.
# Its delays are shorter than a run's, so that other runs are tried when they end.
_PATIENCE = 3
_EXPERIMENT_RESTS = (2.0, 60.0)
_RUN_RESTS = (30.0, 600.0)


class Pass(Enum):
    """Outcome of a pass over the store."""

    BUSY = "data were sent"
    IDLE = "there was nothing to send"
    TROUBLE = "MLflow or the store did not answer"


@dataclass(slots=True)
class _Results:
    """Outcomes of the runs in a pass.

    Attributes:
        taken: Experiments with a run that MLflow accepted.
        refused: Number of consecutive refusals by experiment.
        incomplete: Experiments with a refused run.
    """

    taken: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    incomplete: set[str] = field(default_factory=set)


class _Stopped(Exception):
    """A stop was requested while a run was being sent; it is sent again after the next start."""


class Forwarder:
    """Forwards until MLflow holds everything.

    After a stop was requested, each sending thread completes at most the step that it has begun: one call
    with up to 1,000 points, one page of runs, or one file. The rest is sent again after the next start.

    Args:
        store: The store.
        sink: MLflow.
        artifact_root: Root of the artifacts.
        owner: Name of this forwarder in its lease.
        monotonic: Clock for intervals, in seconds.
        lease_seconds: Length of the lease, after which another forwarder takes over from a silent one.
        beat: Called with every pass, run and batch, as a heartbeat.
        points_per_second: Maximum average number of points sent to MLflow per second.
        stop: Set to request a stop; None: nobody stops it.
        sleep: Sleeps for the given seconds, to keep that pace; None: until `stop` is set.
        observer: Notified of points and runs that are sent.
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
        stop: threading.Event | None = None,
        sleep: Callable[[float], object] | None = None,
        observer: Observer = IGNORE,
    ) -> None:
        self._store = store
        self._stop = stop or threading.Event()
        self._sink = sink
        self._observer = observer
        self._lease_seconds = lease_seconds
        self._beat = beat
        self._leased = -float("inf")  # when the lease was renewed last
        self._leasing = threading.Lock()
        self._pace = Pace(points_per_second, monotonic, sleep or self._stop.wait)
        self._artifacts = open_artifacts(artifact_root)
        self._owner = owner
        self._monotonic = monotonic
        self._marks = Marks(store, sink, monotonic)
        self._threads = ThreadPoolExecutor(sink.parallel, thread_name_prefix="send")
        self._turn = ""  # the experiment that was served last
        self._refused_runs = Backoff[tuple[str, int]](*_RUN_RESTS)
        self._refused_experiments = Backoff[str](*_EXPERIMENT_RESTS)
        self._taken: dict[str, float] = {}  # when MLflow last accepted a run, by experiment

    def run(self) -> None:
        """Work until a stop is requested. Outages of MLflow or the store are waited out without loss."""
        while not self._stop.is_set():
            self._beat()
            try:
                outcome = self.step()
            except StoreUnavailable as error:
                _log.warning("the store cannot be reached: %s", error)
                outcome = Pass.TROUBLE
            if outcome is not Pass.BUSY:
                self._stop.wait(_REST_SECONDS if outcome is Pass.IDLE else _OUTAGE_SECONDS)
        try:
            self._store.release_lease(_LEASE, self._owner)
        except StoreUnavailable as error:
            _log.warning("the lease was not given back and ends on its own: %s", error)

    def step(self) -> Pass:
        """Forward some runs, if this forwarder holds (or gets) the lease.

        Experiments take turns, so that a large one does not delay the end of a small one. A run that MLflow
        refuses is delayed, and so is an experiment with several refused runs; the pass continues with the
        others. If MLflow accepts nothing, this is an outage.

        Returns:
            The outcome; TROUBLE if MLflow accepted nothing or its data may not be durable.
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
            self._send(tasks, results)
        except TakenOver as error:
            _log.warning("another forwarder has taken over: %s", error)
        except OSError as error:
            _log.warning("sent data may not be durable in MLflow and are sent again: %s", error)
            return Pass.TROUBLE
        return Pass.TROUBLE if results.refused and not results.taken else Pass.BUSY

    def _renew(self) -> bool:
        """Take or renew the lease for its full length from now; return whether it is held."""
        now = self._monotonic()
        if not self._store.acquire_lease(_LEASE, self._owner, self._lease_seconds):
            return False
        self._leased = now
        return True

    def _holds(self) -> bool:
        """Whether this forwarder still holds the lease; renews it after a third of its length."""
        with self._leasing:
            return self._monotonic() - self._leased <= self._lease_seconds / 3 or self._renew()

    def _go_on(self) -> None:
        """Beat. Raises _Stopped if a stop was requested."""
        self._beat()
        if self._stop.is_set():
            raise _Stopped

    def _before_batch(self, points: int) -> None:
        """Keep the pace and the lease. A forwarder that was suspended for too long must not continue."""
        self._pace.take(points)
        self._go_on()
        if not self._holds():
            raise TakenOver("the lease has expired")
        self._observer.points(points)

    def _send(self, tasks: list[ForwardTask], results: _Results) -> None:
        """Send runs, as many in parallel as MLflow handles well, and mark them."""
        history = History(self._store, self._go_on)
        completing = _completing(tasks)
        under_way: deque[tuple[ForwardTask, Future[Forwarded]]] = deque()
        try:
            # Runs that share one reading of their pack's history are sent consecutively.
            for task in sorted(tasks, key=_reading_order):
                self._beat()
                if results.refused[task.experiment.id] >= _PATIENCE:
                    continue
                if self._stop.is_set() or not self._holds():
                    break
                name = task.experiment.id
                completing[name] -= 1
                files: Mapping[str, bytes] = {}
                if completing[name] == 0:
                    # The run that completes its experiment takes the report along, after all others have been
                    # sent.
                    while under_way:
                        self._settle(*under_way.popleft(), results)
                    if self._stop.is_set():
                        break
                    files = {} if name in results.incomplete else self._report(name)
                under_way.append((task, self._start(task, history, files)))
                if len(under_way) == self._sink.parallel:
                    self._settle(*under_way.popleft(), results)
        finally:
            self._settle_all(under_way, results)

    def _settle_all(self, under_way: deque[tuple[ForwardTask, Future[Forwarded]]], results: _Results) -> None:
        """Settle every run that is under way, even if one raises, and save the marks."""
        wait(sending for _, sending in under_way)
        try:
            while under_way:
                self._settle(*under_way.popleft(), results)
        finally:
            if under_way:
                self._settle_all(under_way, results)
            else:
                self._marks.save()

    def _report(self, experiment: str) -> Mapping[str, bytes]:
        """The report's files. A defect in their creation must not prevent the run from being sent."""
        try:
            return report_files(self._store, experiment)
        except StoreUnavailable:
            raise
        except Exception:
            with about(experiment):
                _log.exception("MLflow gets no report of %s", experiment)
            return {}

    def _start(self, task: ForwardTask, history: History, files: Mapping[str, bytes]) -> Future[Forwarded]:
        """Prepare a run's data in this thread, and send them in another, with the report if there is one."""
        try:
            news = parcel(task, history.news(task))
        except StoreUnavailable:
            raise
        except Exception as error:
            # Treated as if MLflow had refused it, so that other runs continue.
            failed: Future[Forwarded] = Future()
            failed.set_exception(error)
            return failed
        return self._threads.submit(deliver, news, self._sink, self._artifacts, self._before_batch, files)

    def _settle(self, task: ForwardTask, sending: Future[Forwarded], results: _Results) -> None:
        """Wait until a run has been sent. If MLflow refused it, delay it and perhaps its experiment."""
        experiment, key = task.experiment.id, (task.experiment.id, task.run.index)
        try:
            sent = sending.result()
        except _Stopped:
            return
        except TakenOver:
            self._discard_second(task)
            raise
        except StoreUnavailable:
            raise
        except Exception as error:
            # MLflow passes on all exceptions of its transport. The marks are in the store: nothing is lost.
            now = self._monotonic()
            name = run_name(*key)
            self._sink.forget(experiment, name)
            rest = self._refused_runs.failed(key, now, self._taken.get(experiment, -float("inf")))
            # Log the traceback once.
            new = rest == _RUN_RESTS[0]
            with about(experiment):
                _log.warning("MLflow did not take %s: %s; next try in %g s", name, error, rest, exc_info=new)
            results.refused[experiment] += 1
            results.incomplete.add(experiment)
            self._observer.refused()
            if results.refused[experiment] == _PATIENCE:
                self._refused_experiments.failed(experiment, now)
            return
        self._observer.taken()
        results.taken.add(experiment)
        results.refused[experiment] = 0
        self._taken[experiment] = self._monotonic()
        self._refused_runs.succeeded(key)
        self._refused_experiments.succeeded(experiment)
        self._marks.add(sent)

    def _discard_second(self, task: ForwardTask) -> None:
        """Delete the run in MLflow that this forwarder has created although the store records another one."""
        experiment, index = task.experiment.id, task.run.index
        ours = self._sink.known(experiment, run_name(experiment, index))
        recorded = self._store.get_run(experiment, index).mlflow_run_id
        if ours and recorded and ours != recorded:
            self._sink.discard(ours)


def _completing(tasks: Sequence[ForwardTask]) -> Counter[str]:
    """Number of tasks of each experiment that these tasks complete in MLflow; negative for the others."""
    counts = Counter(task.experiment.id for task in tasks)
    records = {task.experiment.id: task.experiment for task in tasks}
    return Counter(
        {
            name: count if one.state.terminal and one.mlflow_pending_runs == count else -1
            for name, count in counts.items()
            if (one := records[name])
        }
    )


def _reading_order(task: ForwardTask) -> tuple[float, str, str, int]:
    return task.experiment.create_time, task.experiment.id, task.run.pack, task.after_segment
