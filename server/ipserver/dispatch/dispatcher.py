"""The dispatcher: plans experiments, leases packs, has them trained, commits what comes back.

Several may run on one store: leases and fencing tokens keep them apart. Between calls of `step` all that it
knows is in the store or can be lost.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver import segments
from ipserver.artifacts import open_artifacts
from ipserver.dispatch.assembly import defect, make_job, plan_packs, slice_deadline
from ipserver.dispatch.datasets import DatasetChecks
from ipserver.dispatch.executor import Executor
from ipserver.dispatch.jobs import ResourceRequest, SliceReport
from ipserver.dispatch.placed import Placed
from ipserver.dispatch.placement import Claim, Cluster
from ipserver.dispatch.preemption import Demand, make_room
from ipserver.dispatch.retries import Action, Rest, decide
from ipserver.dispatch.unplaced import Unplaced
from ipserver.errors import ArtifactsUnavailable, ClusterLost, DatasetChanged, Fenced, StoreUnavailable
from ipserver.settings import Settings
from ipserver.spec.convert import resource_request
from ipserver.spec.problems import human_bytes
from ipserver.states import FailureReason
from ipserver.store import Store
from ipserver.store.records import CapacityReport, CommitResult, ExperimentRecord, Failure, LeasedPack

_log = logging.getLogger(__name__)
_REPORT_SECONDS = 15.0
_LOOK_SECONDS = 1.0
# Packs for which room is made at a look: enough to be quick, few enough to be cheap.
_ROOM_AT_ONCE = 8
_WAIT_SECONDS = 0.2
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
        self._placed: list[Placed] = []
        # The pack that is being committed for the last time, its worker given back already.
        self._leaving: Placed | None = None
        self._draining = False
        self._artifacts = open_artifacts(settings.artifact_root)
        self._datasets = DatasetChecks(settings.data)
        self._unplaced = Unplaced(store, settings.placement_timeout_seconds)
        self._next_report = -float("inf")
        self._next_look = -float("inf")
        self._next_reap = -float("inf")
        self._cluster = Cluster()
        self._rest = Rest()
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
                self._abandon()
                stop.wait(_OUTAGE_SECONDS)
                continue
            except ClusterLost:
                stop.set()
                for placed in list(self._placed):
                    self._give_back(placed)
                raise
            if not busy:
                stop.wait(_WAIT_SECONDS)
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
            self._store.reap_expired()
            self._next_reap = now + self._settings.lease_seconds / 5
        self._plan()
        if now >= self._next_look:
            self._look()
            self._next_look = now + _LOOK_SECONDS
        self._place()
        self._collect(_WAIT_SECONDS)
        self._end_hung()
        return bool(self._placed)

    def renew(self) -> None:
        """Renew the leases of the packs in hand; those that are lost are noticed at their next commit."""
        leaving = self._leaving
        placed = (*self._placed, *([] if leaving is None else [leaving]))
        held = [(*it.key, it.pack.token) for it in placed]
        if held:
            self._store.renew(held, self._settings.lease_seconds)

    def drain(self, seconds: float = 20.0) -> None:
        """Let every worker write a checkpoint with its next slice, commit it, and give the packs back."""
        deadline = self._monotonic() + seconds
        self._draining = True
        for placed in self._placed:
            placed.drain()
        try:
            # Without a cluster nothing comes back any more.
            with contextlib.suppress(ClusterLost):
                while self._placed and self._monotonic() < deadline:
                    self.renew()
                    self._collect(_WAIT_SECONDS)
            for placed in list(self._placed):
                self._give_back(placed)
        except StoreUnavailable as error:
            _log.warning("the store is out of reach: packs are left to the end of their leases: %s", error)
            self._abandon()

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
        pending = [placed for placed in self._placed if not placed.worker.started()]
        unwanted = self._store.unwanted([(*it.key, it.pack.token) for it in pending]) if pending else set()
        for placed in pending:
            paused = (*placed.key, placed.pack.token) in unwanted
            # Or its node went before it could start.
            if paused or not self._cluster.could_hold(placed.resources):
                self._give_back(placed)
        waiting = list(self._waiting())
        if not all(self._cluster.could_hold(_asked(experiment)) for experiment in waiting):
            self._see_nodes()  # one that can may have joined since the last report
        self._unplaced.look(waiting, self._cluster)
        self._make_room(waiting)

    def _make_room(self, waiting: Sequence[ExperimentRecord]) -> None:
        """Have less urgent packs given back where more urgent ones would fit in their place."""
        self._room_for = []
        # Those on their way out too: their room is kept until it is taken.
        lowest = min((placed.priority for placed in self._placed), default=math.inf)
        urgent = [experiment for experiment in waiting if experiment.priority > lowest]
        pending = any(it.priority > lowest and not it.worker.started() for it in self._placed)
        if not (urgent or pending) or not self._rest.over(self._monotonic()):
            return
        demands: list[tuple[ExperimentRecord, Demand]] = []
        counts = self._store.waiting_packs([experiment.id for experiment in urgent])
        for experiment in urgent:
            asked = _asked(experiment)
            number = min(counts.get(experiment.id, 0), _ROOM_AT_ONCE - len(demands))
            demands += [(experiment, Demand(asked, experiment.priority))] * number
        held = sorted(self._placed, key=lambda it: (-it.priority, it.pack.experiment.create_time))
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
                self._give_back(placed)

    def _place(self) -> None:
        """Lease and start packs while there is room, most urgent experiment first."""
        if not self._rest.over(self._monotonic()):
            return  # files cannot be written just now
        while (experiment := self._next_experiment()) is not None:
            pack = self._store.lease_pack(experiment, self._owner, self._settings.lease_seconds)
            if pack is not None:
                self._start(pack)
        # No pack waits that could be given to what is kept; one that is placed may wait for its resources.
        self._executor.trim()

    def _next_experiment(self) -> str | None:
        """The first experiment with a waiting pack that may be started now."""
        claims = [placed.claim() for placed in self._placed]
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

    def _start(self, pack: LeasedPack) -> None:
        spent = decide(FailureReason.LEASE_LOST, pack.fruitless, self._settings)
        if spent.action is Action.FAIL:
            # Leases are taken back without a dispatcher that could decide: so the next one does.
            times = pack.fruitless[FailureReason.LEASE_LOST]
            message = (
                f"{times} dispatchers in a row died, or were cut off, before this pack committed anything"
            )
            self._end(pack, Failure(FailureReason.LEASE_LOST, message), f"failed: {message}", retry=False)
            return
        # A pack that this version cannot start must not keep the others from training. What else a cluster
        # in trouble raises ends this process: the leases run out, and the packs are tried again.
        try:
            job = make_job(pack, self._settings)
            limit = slice_deadline(pack, self._datasets.info(job.config.dataset), self._settings)
        except Exception as error:
            self._refuse_pack(pack, error)
            return
        try:
            worker = self._executor.start(job)
        except ValueError as error:
            self._refuse_pack(pack, error)
            return
        placed = Placed(pack, worker, job.resources, job.ended, limit, self._monotonic())
        placed.advance()
        self._placed.append(placed)

    def _refuse_pack(self, pack: LeasedPack, error: Exception) -> None:
        _log.error("pack %s of %s cannot be started", pack.id, pack.experiment.id, exc_info=error)
        failure = defect("starting the pack", error)
        self._store.end_attempt(pack.experiment.id, pack.id, pack.token, failure=failure, retry=False)

    def _end_hung(self) -> None:
        """Give up workers that have not answered for far longer than a slice can take."""
        now = self._monotonic()
        for placed in list(self._placed):
            if not placed.worker.started():
                placed.since = now  # it waits for its resources
            if now - placed.since > placed.slice_limit:
                limit = placed.slice_limit
                message = f"no answer for {now - placed.since:.0f} s (limit {limit:.0f} s)"
                try:
                    self._fail(placed, Failure(FailureReason.WORKER_LOST, message))
                except Fenced:
                    self._forget(placed)

    def _collect(self, timeout: float) -> None:
        """Commit the slices that have arrived."""
        by_worker = {id(placed.worker): placed for placed in self._placed}
        workers = [placed.worker for placed in self._placed]
        for worker, report in self._executor.ready(workers, timeout) if workers else ():
            placed = by_worker[id(worker)]
            placed.since = self._monotonic()
            placed.idle_seconds += report.idle_seconds
            if placed in self._placed:
                self._handle(placed, report)

    def _handle(self, placed: Placed, report: SliceReport) -> None:
        experiment, pack = placed.key
        overlooked = placed.ended - placed.told.popleft()
        try:
            for text in report.notices:
                self._store.notice(experiment, text)
            if report.failure is not None:
                self._fail(placed, report.failure)
                return
            if report.commit is not None and report.commit.finished:
                self._finish(placed, report, overlooked)
                return
            if not placed.draining:
                # The next slice is queued before this one is committed: the device does not wait for us.
                placed.advance()
            result = self._record(placed, report, overlooked)
            placed.ended = result.ended
            self._discard(lambda: self._artifacts.delete(result.obsolete_checkpoints))
            if result.done:
                self._placed.remove(placed)
                placed.worker.release()
                self._say_done(placed)
            elif placed.draining and not placed.told:
                self._give_back(placed)
            elif result.pausing:
                placed.drain()
        except DatasetChanged as error:
            self._fail(placed, Failure(FailureReason.DATA_UNAVAILABLE, str(error)))
        except Fenced as error:
            _log.warning("pack %s of %s is led by another dispatcher: %s", pack, experiment, error)
            self._forget(placed)

    def _finish(self, placed: Placed, report: SliceReport, overlooked: frozenset[int]) -> None:
        """Commit a pack's last slice, after its worker has been given the next pack."""
        self._leaving = placed
        self._placed.remove(placed)
        try:
            placed.worker.release()
            if not self._draining:
                self._place()
            self._record(placed, report, overlooked)
        finally:
            self._leaving = None
        self._say_done(placed)

    def _say_done(self, placed: Placed) -> None:
        experiment, pack = placed.key
        idle = placed.idle_seconds
        _log.info("pack %s of %s is done; it waited %.3f s for slices", pack, experiment, idle)
        self._remove_checkpoints(placed.pack)

    def _record(self, placed: Placed, report: SliceReport, overlooked: frozenset[int]) -> CommitResult:
        """Commit what a slice has brought; `overlooked` runs were cancelled when it was queued already."""
        key, token, commit = placed.key, placed.pack.token, report.commit
        if commit is None:
            saved = report.repeated.checkpoint if report.repeated else None
            return self._store.settle(*key, token, saved)
        if overlooked and commit.segment:
            # Their history ends with them.
            commit = replace(commit, segment=segments.without(commit.segment, overlooked))
        result = self._store.commit_slice(*key, token, commit)
        placed.committed = commit.last_step
        if commit.artifacts or commit.checkpoint is not None:
            self._rest.reset()
        return result

    def _fail(self, placed: Placed, failure: Failure) -> None:
        left = len(placed.pack.runs) - len(placed.ended)
        decision = decide(failure.reason, placed.fruitless(failure.reason), self._settings, left)
        if failure.reason is FailureReason.OUT_OF_MEMORY:
            estimate = human_bytes(placed.pack.memory_bytes)
            failure = replace(
                failure, message=f"{failure.message} ({left} runs, planned for {estimate} with their dataset)"
            )
        if failure.reason is FailureReason.ARTIFACTS_UNAVAILABLE:
            self._rest.extend(self._monotonic())
        what = f"{decision}: {failure.reason.value}: {failure.message}"
        if decision.action is Action.SPLIT:
            self._split(placed.pack, failure, what)
        else:
            self._end(placed.pack, failure, what, retry=decision.action is Action.RETRY)
        self._forget(placed)

    def _split(self, pack: LeasedPack, failure: Failure, what: str) -> None:
        """End an attempt of a pack that is too large; its parts wait for workers."""
        self._store.notice(pack.experiment.id, f"pack {pack.id} {what}"[:500])
        _log.warning("pack %s of %s %s", pack.id, pack.experiment.id, what)
        self._store.split_pack(pack.experiment.id, pack.id, pack.token, failure=failure)
        self._remove_checkpoints(pack)

    def _end(self, pack: LeasedPack, failure: Failure, what: str, *, retry: bool) -> None:
        """End an attempt that failed, and say what becomes of the pack."""
        self._store.notice(pack.experiment.id, f"pack {pack.id} {what}"[:500])
        _log.warning("pack %s of %s %s", pack.id, pack.experiment.id, what)
        self._store.end_attempt(pack.experiment.id, pack.id, pack.token, failure=failure, retry=retry)
        if not retry:
            self._remove_checkpoints(pack)

    def _give_back(self, placed: Placed) -> None:
        try:
            self._store.end_attempt(*placed.key, placed.pack.token, failure=None, retry=True)
        except Fenced:
            _log.warning("pack %s of %s was already taken over", placed.pack.id, placed.pack.experiment.id)
        if placed.told:
            self._forget(placed)
        else:
            self._placed.remove(placed)
            placed.worker.release()  # it has answered all that it was asked: another pack may have it

    def _abandon(self) -> None:
        """Stop all workers without a word to the store: no longer renewed, their leases run out."""
        for placed in list(self._placed):
            self._forget(placed)

    def _forget(self, placed: Placed) -> None:
        if placed in self._placed:  # if not, its worker has another pack already
            placed.worker.stop()
            self._placed.remove(placed)

    def _remove_checkpoints(self, pack: LeasedPack) -> None:
        """Remove a finished pack's checkpoints, also those that no commit has named."""
        self._discard(lambda: self._artifacts.delete_folder(f"{pack.experiment.id}/checkpoints/{pack.id}"))

    def _discard(self, delete: Callable[[], None]) -> None:
        """Files that nothing names any more cost room, not truth: what cannot be removed now is left."""
        try:
            delete()
        except (ArtifactsUnavailable, OSError) as error:
            _log.warning("old checkpoints are left where they are: %s", error)


def _asked(experiment: ExperimentRecord) -> ResourceRequest:
    return resource_request(ExperimentSpec.FromString(experiment.spec))
