"""The dispatcher: plans experiments, leases packs, has them trained, commits what comes back.

Several may run on one store: leases and fencing tokens keep them apart. Between calls of `step` all that it
knows is in the store or can be lost.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver.dispatch.assembly import defect, plan_packs
from ipserver.dispatch.datasets import DatasetChecks
from ipserver.dispatch.executor import Executor
from ipserver.dispatch.hands import WAIT_SECONDS, Hands
from ipserver.dispatch.jobs import ResourceRequest
from ipserver.dispatch.placement import Claim, Cluster
from ipserver.dispatch.preemption import Demand, make_room
from ipserver.dispatch.unplaced import Unplaced
from ipserver.errors import ClusterLost, Fenced, StoreUnavailable
from ipserver.settings import Settings
from ipserver.spec.convert import resource_request
from ipserver.store import Store
from ipserver.store.records import CapacityReport, ExperimentRecord

_log = logging.getLogger(__name__)
_REPORT_SECONDS = 15.0
_LOOK_SECONDS = 1.0
# Packs for which room is made at a look: enough to be quick, few enough to be cheap.
_ROOM_AT_ONCE = 8
_OUTAGE_SECONDS = 2.0


class Dispatcher:
    """Leads packs from QUEUED to DONE.

    Args:
        store: Where the truth is.
        executor: Where trainers run.
        settings: Leases, slices, limits, folders.
        owner: Name of this dispatcher in leases, unique among those alive.
        monotonic: Clock for intervals, in seconds.
        beat: Called with every pass: a sign of life.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        settings: Settings,
        owner: str,
        monotonic: Callable[[], float] = time.monotonic,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._executor = executor
        self._settings = settings
        self._owner = owner
        self._monotonic = monotonic
        self._beat = beat
        self._datasets = DatasetChecks(settings.data)
        self._hands = Hands(store, executor, settings, self._datasets, self._place, monotonic)
        self._unplaced = Unplaced(store, settings.placement_timeout_seconds)
        self._next_report = -float("inf")
        self._next_look = -float("inf")
        self._next_reap = -float("inf")
        self._cluster = Cluster()
        # Experiments for whose packs room is being made just now, with what each such pack asks for.
        self._room_for: list[tuple[str, ResourceRequest]] = []

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then finish the slices in hand and give the packs back with checkpoints.

        Leases are renewed by a thread of its own, so a long commit does not lose them. While the store cannot
        be reached the workers are stopped; their packs go on from checkpoints when their leases have run out.

        Raises:
            ClusterLost: There is nothing left to train on; the packs in hand go on with the next start.
        """
        renewer = threading.Thread(target=self._renew_until, args=(stop,), name="lease-renewal", daemon=True)
        renewer.start()
        while not stop.is_set():
            self._beat()
            try:
                busy = self.step()
            except StoreUnavailable as error:
                _log.warning("the store is out of reach: %s", error)
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
        renewer.join()

    def step(self) -> bool:
        """One pass: report, reap, plan, place, commit what has arrived.

        Returns:
            Whether anything is in hand (if not, the caller may rest a little).
        """
        now = self._monotonic()
        if now >= self._next_report:
            self._report()
            self._next_report = now + _REPORT_SECONDS
        if now >= self._next_reap:
            # First what is in hand: all leases look expired once the store's clock has been set.
            self._hands.renew()
            self._store.reap_expired()
            self._next_reap = now + self._settings.lease_seconds / 5
        self._plan()
        if now >= self._next_look:
            self._look()
            self._next_look = now + _LOOK_SECONDS
        self._place()
        self._hands.collect(WAIT_SECONDS)
        self._hands.end_hung()
        return bool(self._hands.placed)

    def renew(self) -> None:
        """Renew the leases of the packs in hand; those that are lost are noticed at their next commit."""
        self._hands.renew()

    def drain(self, seconds: float = 20.0) -> None:
        """Let every worker write a checkpoint with its next slice, commit it, and give the packs back."""
        self._hands.drain(seconds)

    def _renew_until(self, stop: threading.Event) -> None:
        while not stop.wait(self._settings.lease_seconds / 3):
            try:
                self.renew()
            except Exception:
                # The thread must outlive a short outage of the store; a lease that is lost meanwhile is
                # noticed by the fencing of the next commit.
                _log.exception("leases were not renewed")

    def _report(self) -> None:
        """Tell the API, through the store, what this dispatcher can reach."""
        self._see_nodes()
        self._store.save_capacity(CapacityReport(self._cluster.total(), self._datasets.report()))

    def _see_nodes(self) -> None:
        nodes = self._executor.nodes()
        self._cluster = Cluster(tuple(nodes.values()), self._settings.expected_nodes, tuple(nodes))

    def _plan(self) -> None:
        while leased := self._store.lease_unplanned(self._owner, self._settings.lease_seconds):
            experiment, runs = leased
            try:
                try:
                    profile = self._executor.profile(_asked(experiment))
                    packs = plan_packs(
                        experiment, runs, self._cluster, self._settings, self._datasets, profile
                    )
                except ClusterLost:
                    raise
                except Exception as error:
                    # One experiment that this version cannot plan must not keep the others from training.
                    _log.exception("%s cannot be planned", experiment.id)
                    self._store.refuse_plan(experiment.id, self._owner, defect("planning", error))
                else:
                    self._store.save_plan(experiment.id, self._owner, packs)
                    _log.info("%s: %d runs in %d packs", experiment.id, len(runs), len(packs))
            except Fenced:
                _log.warning("%s was planned by another dispatcher", experiment.id)

    def _look(self) -> None:
        """See to what waits, placed or not."""
        pending = [placed for placed in self._hands.placed if not placed.worker.started()]
        unwanted = self._store.unwanted([(*it.key, it.pack.token) for it in pending]) if pending else set()
        for placed in pending:
            paused = (*placed.key, placed.pack.token) in unwanted
            # Or its node went before it could start.
            if paused or not self._cluster.could_hold(placed.resources):
                self._hands.give_back(placed)
        waiting = list(self._waiting())
        if not all(self._cluster.could_hold(_asked(experiment)) for experiment in waiting):
            self._see_nodes()  # one that can may have joined since the last report
        self._unplaced.look(waiting, self._cluster)
        self._make_room(waiting)

    def _make_room(self, waiting: Sequence[ExperimentRecord]) -> None:
        """Have less urgent packs given back where more urgent ones would fit in their place."""
        self._room_for = []
        # Those on their way out too: their room is kept until it is taken.
        lowest = min((placed.priority for placed in self._hands.placed), default=math.inf)
        urgent = [experiment for experiment in waiting if experiment.priority > lowest]
        pending = any(it.priority > lowest and not it.worker.started() for it in self._hands.placed)
        if not (urgent or pending) or not self._hands.rest.over(self._monotonic()):
            return
        demands: list[tuple[ExperimentRecord, Demand]] = []
        counts = self._store.waiting_packs([experiment.id for experiment in urgent])
        for experiment in urgent:
            asked = _asked(experiment)
            number = min(counts.get(experiment.id, 0), _ROOM_AT_ONCE - len(demands))
            demands += [(experiment, Demand(asked, experiment.priority))] * number
        held = sorted(self._hands.placed, key=lambda it: (-it.priority, it.pack.experiment.create_time))
        room = make_room(self._cluster, [it.holding() for it in held], [demand for _, demand in demands])
        self._room_for = [(demands[place][0].id, demands[place][1].asked) for place in sorted(room.kept_for)]
        for position, place in room.giving.items():
            placed = held[position]
            whom = demands[place][0].id if place >= 0 else "a pack"
            notice = f"pack {placed.pack.id} makes room for {whom} of higher priority; it goes on later"
            self._store.notice(placed.pack.experiment.id, notice)
            if placed.worker.started():
                placed.drain()
            else:
                self._hands.give_back(placed)

    def _place(self) -> None:
        """Lease and start packs while there is room, most urgent experiment first."""
        if not self._hands.rest.over(self._monotonic()):
            return  # files cannot be written just now
        while (experiment := self._next_experiment()) is not None:
            pack = self._store.lease_pack(experiment, self._owner, self._settings.lease_seconds)
            if pack is not None:
                self._hands.start(pack)
        # No pack waits that could be given to what is kept; one that is placed may wait for its resources.
        self._executor.trim()

    def _next_experiment(self) -> str | None:
        """The first experiment with a waiting pack that may be started now."""
        claims = [placed.claim() for placed in self._hands.placed]
        if not self._cluster.expected and self._cluster.left(claims)["cpus"] <= 0:
            return None  # every pack asks for cores: the store need not be asked
        seen: set[str] = set()
        for experiment in self._waiting():
            asked = _asked(experiment)
            # Room that is being made is not for those who are less urgent.
            others = [Claim(it, started=False) for name, it in self._room_for if name in seen]
            seen.add(experiment.id)
            if self._cluster.may_start(asked, [*claims, *others]):
                if not self._cluster.holds(asked):
                    self._unplaced.awaits_node(experiment.id, asked, self._cluster)
                return experiment.id
        return None

    def _waiting(self) -> Iterator[ExperimentRecord]:
        """All that wait, the most urgent first, read as far as they are asked for."""
        last = None
        while page := self._store.waiting(after=last):
            yield from page
            last = page[-1]


def _asked(experiment: ExperimentRecord) -> ResourceRequest:
    return resource_request(ExperimentSpec.FromString(experiment.spec))
