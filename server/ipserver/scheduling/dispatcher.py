"""The dispatcher: plans experiments, leases packs, lets workers train them, and commits their slices.

Several dispatchers may run on one store; leases and fencing tokens separate them. Between calls of `step`,
all state that matters is in the store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ipserver.environment.settings import Settings
from ipserver.errors import ClusterLost, StoreUnavailable
from ipserver.request.resources import ResourceRequest
from ipserver.scheduling.datasets import DatasetChecks
from ipserver.scheduling.hands import WAIT_SECONDS, Hands
from ipserver.scheduling.observing import IGNORE, Observer
from ipserver.scheduling.placement import Cluster, Room
from ipserver.scheduling.placing import Placing
from ipserver.scheduling.plans import Plans
from ipserver.scheduling.unplaced import Unplaced
from ipserver.store import Store
from ipserver.store.records.board import Board
from ipserver.store.records.cluster import CapacityReport, PlannerReport
from ipserver.workers.executor import Executor

_log = logging.getLogger(__name__)
_REPORT_SECONDS = 15.0
_LOOK_SECONDS = 1.0
# Longest wait for planning while packs are in hand; a longer plan continues in its thread.
_PLAN_SECONDS = 0.05
_OUTAGE_SECONDS = 2.0


class Dispatcher:
    """Takes packs from QUEUED to DONE.

    Args:
        store: The store.
        executor: The executor of the workers.
        settings: Leases, slices, limits, folders.
        owner: Name of this dispatcher in leases, unique among those alive.
        monotonic: Clock for intervals, in seconds.
        beat: Called with every pass, as a heartbeat.
        observer: Notified of slices and failed attempts.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        settings: Settings,
        owner: str,
        monotonic: Callable[[], float] = time.monotonic,
        beat: Callable[[], None] = lambda: None,
        observer: Observer = IGNORE,
    ) -> None:
        self._store = store
        self._executor = executor
        self._settings = settings
        self._owner = owner
        self._monotonic = monotonic
        self._beat = beat
        self._datasets = DatasetChecks(settings.data)
        self._hands = Hands(store, executor, settings, self._datasets, self._place, monotonic, observer)
        self._plans = Plans(store, executor, settings, self._datasets, owner)
        self._unplaced = Unplaced(store, settings.placement_timeout_seconds)
        self._placing = Placing(store, executor, settings, self._hands, self._unplaced, owner)
        self._next_report = -float("inf")
        self._next_look = -float("inf")
        self._next_reap = -float("inf")
        self._cluster = Cluster()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then finish the slices in hand and give the packs back with checkpoints.

        A separate thread renews leases, so that a long commit does not lose them. If the store cannot be
        reached, the workers are stopped; their packs continue from checkpoints when the leases have expired.

        Raises:
            ClusterLost: The cluster is gone. The packs in hand continue after the next start.
        """
        renewer = threading.Thread(target=self._renew_until, args=(stop,), name="lease-renewal", daemon=True)
        renewer.start()
        while not stop.is_set():
            self._beat()
            try:
                busy = self.step()
            except StoreUnavailable as error:
                _log.warning("the store cannot be reached: %s", error)
                self._hands.abandon()
                stop.wait(_OUTAGE_SECONDS)
                continue
            except ClusterLost:
                stop.set()
                for placed in list(self._hands.placed):
                    self._hands.give_back(placed)
                raise
            if not busy:
                stop.wait(WAIT_SECONDS)
        self.drain()
        self._plans.close()
        renewer.join()

    def step(self) -> bool:
        """One pass: report, reap, plan, place, and commit arrived slices.

        Returns:
            Whether packs are in hand (if not, the caller may pause briefly).
        """
        now = self._monotonic()
        if now >= self._next_report:
            self._report()
            self._next_report = now + _REPORT_SECONDS
        if now >= self._next_reap:
            # Renew our leases before reaping: all leases look expired after the store's clock has been set.
            self._hands.renew()
            self._store.reap_expired()
            self._next_reap = now + self._settings.lease_seconds / 5
        self._plans.look(self._cluster, _PLAN_SECONDS if self._hands.placed else None)
        if now >= self._next_look:
            self._look()
            self._next_look = now + _LOOK_SECONDS
        else:
            self._place()
        self._hands.collect(WAIT_SECONDS)
        self._hands.end_hung()
        return bool(self._hands.placed)

    def renew(self) -> None:
        """Renew the leases of the packs in hand. A lost lease is noticed at the pack's next commit."""
        self._hands.renew()

    def drain(self, seconds: float = 20.0) -> None:
        """Let every worker write a checkpoint with its next slice, commit it, and give the packs back."""
        self._hands.drain(seconds)

    def _renew_until(self, stop: threading.Event) -> None:
        while not stop.wait(self._settings.lease_seconds / 3):
            try:
                self.renew()
            except Exception:
                # The thread must survive a short outage of the store. A lease lost during it is
                # noticed when the next commit is fenced.
                _log.exception("leases were not renewed")

    def _report(self) -> None:
        """Report resources and datasets to the API through the store."""
        self._see_nodes()
        self._store.save_capacity(
            CapacityReport(
                self._cluster.total(),
                self._datasets.report(),
                data=str(self._settings.data or ""),
                planner=PlannerReport(
                    self._settings.max_pack_runs,
                    self._settings.max_pack_memory_bytes,
                    self._executor.profile(ResourceRequest()),
                ),
            )
        )

    def _see_nodes(self) -> None:
        nodes = self._executor.nodes()
        self._cluster = Cluster(tuple(nodes.values()), self._settings.expected_nodes, tuple(nodes))

    def _look(self) -> None:
        """Check the packs that wait, in the queue or for their worker, and decide which packs make room."""
        self._look_at_pending()
        board = self._start_packs()
        shapes = {queued.shape: ResourceRequest.of(queued.shape) for queued in board.queued}
        if not all(map(self._cluster.could_hold, shapes.values())):
            self._see_nodes()  # a suitable node may have joined since the last report
        impossible = [shape for shape, asked in shapes.items() if not self._cluster.could_hold(asked)]
        self._unplaced.look(impossible, self._cluster)

    def _look_at_pending(self) -> None:
        """Give back packs that should no longer wait for their worker, and record the nodes of workers."""
        there = self._cluster.named()
        for placed in self._hands.placed:
            node = placed.worker.node()
            if node in there and node != placed.node:
                self._store.lie(*placed.lease, node)
                placed.node = node
        pending = [placed for placed in self._hands.placed if not placed.worker.started()]
        unwanted = self._store.unwanted([placed.lease for placed in pending]) if pending else set()
        for placed in pending:
            if placed.node:
                there_is = Room(there.get(placed.node, {})).fits(placed.resources)
            else:
                there_is = self._cluster.could_hold(placed.resources)
            if placed.lease in unwanted or not there_is:
                self._hands.give_back(placed)

    def _place(self) -> None:
        """Start packs while there is room. Skip this if there is certainly none."""
        if self._placing.full(self._cluster):
            self._executor.trim()
        else:
            self._start_packs()

    def _usable(self) -> Cluster:
        """The cluster without temporarily shunned nodes."""
        now, there = self._monotonic(), self._cluster.named()
        usable = {name: node for name, node in there.items() if self._hands.shunned.get(name, now) <= now}
        return Cluster(tuple(usable.values()), self._cluster.expected, tuple(usable))

    def _start_packs(self) -> Board:
        if self._hands.rest.over(self._monotonic()):
            return self._placing.place(self._usable())
        self._executor.trim()  # files cannot be written at present
        return self._store.board(self._executor.cluster)
