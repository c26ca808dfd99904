"""A simulated cluster: nothing is trained, and workers start and end as Ray's do, by a clock.

Dispatchers, the store, the schedule and the pool of kept workers are real. Tests can observe thousands of
passes, and compare each with the resources that are really free.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.scheduling.placement import Room, filled
from ipserver.store.records.slices import SliceCommit
from ipserver.store.states import RunState
from ipserver.workers.executor import Worker
from ipserver.workers.jobs import PackJob, SliceReport
from ipserver.workers.kept import Kept

# Number of passes until a process has started after its resources are free.
START_PASSES = 1
# Largest number of passes for which a pack may wait while its resources are free.
PATIENCE = 2


@dataclass(eq=False)
class FakeActor:
    """A process that holds its resources from the pass in which it gets them until its end."""

    asked: ResourceRequest
    node: str
    holds: bool = False
    alive_in: int = START_PASSES
    waits: int = 0
    ended: bool = False


@dataclass
class FakeCluster:
    """Nodes, and actors in the order of their requests."""

    nodes: Mapping[str, Mapping[str, float]]
    actors: list[FakeActor] = field(default_factory=list)

    def taken(self) -> dict[str, list[ResourceRequest]]:
        """Resources that are really in use on each node."""
        return {
            node: [it.asked for it in self.actors if it.holds and not it.ended and it.node == node]
            for node in self.nodes
        }

    def room(self, node: str) -> Room:
        """Resources that are really free."""
        return filled(self.nodes[node], self.taken()[node])

    def tick(self) -> None:
        """Remove ended actors, and give free resources to the others, in order."""
        self.actors = [it for it in self.actors if not it.ended]
        for actor in self.actors:
            if actor.holds:
                actor.alive_in -= 1
            else:
                actor.waits += 1
                assert actor.waits <= PATIENCE, f"a worker of {actor.asked} waits for what another one keeps"
            if not actor.holds and self.room(actor.node).fits(actor.asked):
                actor.holds = True


class FakeExecutor:
    """One dispatcher's executor on the simulated cluster; a slice takes a pass."""

    def __init__(self, cluster: FakeCluster, ready_workers: int, steps: int) -> None:
        self.cluster = "a fake"
        self._there = cluster
        self._kept: Kept[FakeActor] = Kept(_end)
        self._workers: list[FakeWorker] = []
        self._ready_workers = ready_workers
        self.steps = steps

    def nodes(self) -> Mapping[str, Mapping[str, float]]:
        return self._there.nodes

    def profile(self, asked: ResourceRequest) -> None:
        return None

    def spare(self) -> Collection[tuple[ResourceRequest, str]]:
        return self._kept.sizes()

    def start(self, job: PackJob) -> Worker:
        assert job.node, "no node can be added here"
        actor = self._kept.take(job.resources, job.node)
        if actor is None:
            actor = FakeActor(job.resources, job.node)
            self._there.actors.append(actor)
        worker = FakeWorker(self, actor, job)
        self._workers.append(worker)
        return worker

    def ready(self, workers: Sequence[Worker], timeout: float) -> list[tuple[Worker, SliceReport]]:
        mine = [it for it in workers if isinstance(it, FakeWorker) and it.alive() and it.asked]
        return [(it, it.answer()) for it in mine]

    def trim(self, *, shared: bool = False) -> None:
        self._kept.trim(0 if shared else self._ready_workers)

    def stuck(self, worker: Worker, late: bool) -> str:
        return ""

    def keep(self, worker: FakeWorker) -> None:
        """As the executor on Ray."""
        self._workers.remove(worker)
        starting = {it.job.node for it in self._workers if not it.alive()}
        self._kept.keep(worker.actor, worker.job.resources, worker.job.node, starting)

    def stop(self, worker: FakeWorker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)
        worker.actor.ended = True

    def close(self) -> None:
        """The dispatcher's process died, so Ray ends its actors."""
        self._kept.trim()
        for worker in list(self._workers):
            self.stop(worker)


def _end(actor: FakeActor) -> None:
    actor.ended = True


@dataclass(eq=False)
class FakeWorker:
    """Reports a trained slice."""

    executor: FakeExecutor
    actor: FakeActor
    job: PackJob
    asked: collections.deque[bool] = field(default_factory=collections.deque)
    at: int = -1

    def advance(self, ended: Collection[int], *, checkpoint: bool = False) -> None:
        self.asked.append(checkpoint)

    def answer(self) -> SliceReport:
        self.asked.popleft()
        first = max(self.at, self.job.committed_steps) + 1
        self.at = min(first + self.executor.steps - 1, self.job.config.steps)
        done = self.at == self.job.config.steps
        ended = dict.fromkeys(self.job.run_indices, RunState.SUCCEEDED) if done else {}
        return SliceReport(commit=SliceCommit(first, self.at, b"", {}, ended, finished=done))

    def alive(self) -> bool:
        return self.actor.holds and self.actor.alive_in <= 0 and not self.actor.ended

    def started(self) -> bool:
        return self.alive()

    def node(self) -> str:
        return self.actor.node if self.alive() else ""

    def release(self) -> None:
        if self.asked:
            self.stop()
        else:
            self.executor.keep(self)

    def stop(self) -> None:
        self.asked.clear()
        self.executor.stop(self)


def passes(dispatchers: Sequence[Dispatcher], cluster: FakeCluster) -> None:
    """One pass of all dispatchers."""
    for dispatcher in dispatchers:
        dispatcher.renew()
        dispatcher.step()
    cluster.tick()
