"""Trainers as threads of this process."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Collection, Mapping, Sequence

from ipcore.planning.machine import MachineProfile
from ipserver.request.resources import ResourceRequest
from ipserver.workers.executor import Worker
from ipserver.workers.jobs import PackJob, SliceReport
from ipserver.workers.trainer import PackTrainer

_NODE = "here"


class LocalExecutor:
    """Trainers as threads of this process, for tests and for debugging."""

    def __init__(self, cpus: float = 2.0) -> None:
        self.cluster = f"threads-{uuid.uuid4().hex}"
        self._cpus = cpus
        self._done: queue.Queue[tuple[Worker, SliceReport]] = queue.Queue()
        self._workers: list[_LocalWorker] = []

    def nodes(self) -> Mapping[str, Mapping[str, float]]:
        """One node whose cores are threads."""
        return {_NODE: {"cpus": self._cpus}}

    def profile(self, asked: ResourceRequest) -> MachineProfile | None:
        """None: threads of this process are not measured."""
        return None

    def spare(self) -> Collection[tuple[ResourceRequest, str]]:
        """Empty: threads start quickly, so none is kept."""
        return ()

    def start(self, job: PackJob) -> Worker:
        """Start a thread."""
        worker = _LocalWorker(job, self._done)
        self._workers.append(worker)
        return worker

    def ready(self, workers: Sequence[Worker], timeout: float) -> list[tuple[Worker, SliceReport]]:
        """Arrived slices."""
        arrived: list[tuple[Worker, SliceReport]] = []
        try:
            arrived.append(self._done.get(timeout=timeout))
            while True:
                arrived.append(self._done.get_nowait())
        except queue.Empty:
            return [item for item in arrived if item[0] in workers]

    def trim(self, *, shared: bool = False) -> None:
        """Does nothing: no worker is kept."""

    def stuck(self, worker: Worker, late: bool) -> str:
        """Always "": a thread starts at once."""
        return ""

    def close(self) -> None:
        """Stop the threads and wait for the slices in hand."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.thread.join()
        self._workers.clear()


class _LocalWorker:
    def __init__(self, job: PackJob, done: queue.Queue[tuple[Worker, SliceReport]]) -> None:
        self._job = job
        self._done = done
        self._calls: queue.Queue[tuple[frozenset[int], bool] | None] = queue.Queue()
        self._stopped = threading.Event()
        self.thread = threading.Thread(target=self._work, name=f"trainer-{job.pack}", daemon=True)
        self.thread.start()

    def advance(self, ended: Collection[int], *, checkpoint: bool = False) -> None:
        self._calls.put((frozenset(ended), checkpoint))

    def alive(self) -> bool:
        return True

    def started(self) -> bool:
        return True

    def node(self) -> str:
        return _NODE

    def release(self) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        self._calls.put(None)

    def _work(self) -> None:
        trainer = PackTrainer(self._job)
        while (call := self._calls.get()) is not None and not self._stopped.is_set():
            ended, checkpoint = call
            self._done.put((self, trainer.advance(ended, checkpoint=checkpoint)))
