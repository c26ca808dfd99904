"""The packs in a dispatcher's hands: start, slices, commits, and giving back."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from ipserver.artifacts import open_artifacts
from ipserver.environment.log_scope import about
from ipserver.environment.settings import Settings
from ipserver.environment.traces import span
from ipserver.errors import ClusterLost, DatasetChanged, Fenced, StoreUnavailable
from ipserver.scheduling.assembly import make_job, slice_deadline
from ipserver.scheduling.datasets import DatasetChecks
from ipserver.scheduling.endings import Endings
from ipserver.scheduling.observing import IGNORE, Observer
from ipserver.scheduling.placed import Placed
from ipserver.scheduling.retries import Rest
from ipserver.store import Store, segments
from ipserver.store.records.packs import LeasedPack
from ipserver.store.records.runs import Failure
from ipserver.store.records.slices import CommitResult
from ipserver.store.states import FailureReason
from ipserver.workers.executor import Executor
from ipserver.workers.jobs import SliceReport

_log = logging.getLogger(__name__)
WAIT_SECONDS = 0.2
# A worker takes at least about a second to start, so its state is not checked earlier.
_START_SECONDS = 5.0


class Hands:
    """Lead packs from their lease to their last commit.

    Args:
        store: The store.
        executor: The executor of the workers.
        settings: Leases, retries, folders.
        datasets: Properties of the datasets.
        refill: Called when a worker becomes free, to give it another pack.
        monotonic: Clock for intervals, in seconds.
        observer: Notified of slices and failed attempts.

    Attributes:
        placed: Packs that have or wait for a worker.
        rest: Pause of starts while files cannot be written.
        shunned: Nodes on which a worker did not start, each with the time until which it is not used.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        settings: Settings,
        datasets: DatasetChecks,
        refill: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
        observer: Observer = IGNORE,
    ) -> None:
        self._store = store
        self._executor = executor
        self._observer = observer
        self._settings = settings
        self._datasets = datasets
        self._refill = refill
        self._monotonic = monotonic
        self.placed: list[Placed] = []
        self.rest = Rest()
        self.shunned: dict[str, float] = {}
        # The pack whose last commit is in progress; its worker has already been released.
        self.leaving: Placed | None = None
        self._draining = False
        artifacts = open_artifacts(settings.artifact_root)
        self._endings = Endings(store, artifacts, settings, observer, self.rest, monotonic)

    def renew(self) -> None:
        """Renew the leases of the packs in hand; those that are lost are noticed at their next commit."""
        leaving = self.leaving
        placed = (*self.placed, *([] if leaving is None else [leaving]))
        held = [it.lease for it in placed]
        if held:
            self._store.renew(held, self._settings.lease_seconds)

    def drain(self, seconds: float = 20.0) -> None:
        """Let every worker write a checkpoint with its next slice, commit it, and give the packs back."""
        deadline = self._monotonic() + seconds
        self._draining = True
        for placed in self.placed:
            placed.drain()
        try:
            # Without a cluster no slices arrive any more.
            with contextlib.suppress(ClusterLost):
                while self.placed and self._monotonic() < deadline:
                    self.renew()
                    self.collect(WAIT_SECONDS)
            for placed in list(self.placed):
                self.give_back(placed)
        except StoreUnavailable as error:
            _log.warning("the store cannot be reached; packs wait until their leases expire: %s", error)
            self.abandon()

    def start(self, pack: LeasedPack, node: str = "") -> None:
        """Start training a newly leased pack on a node ("": a node to be added)."""
        with (
            about(pack.experiment.id),
            span("start pack", parent=pack.experiment.trace or None, pack=pack.id, attempt=pack.token),
        ):
            self._start(pack, node)

    def _start(self, pack: LeasedPack, node: str) -> None:
        if self._endings.lost_too_often(pack):
            return
        # A pack that this version cannot start must not prevent others from training. Other errors of a
        # failing cluster end this process; the leases expire, and the packs are tried again.
        try:
            job = replace(make_job(pack, self._settings), node=node)
            limit = slice_deadline(pack, self._datasets.info(job.config.dataset), self._settings)
        except Exception as error:
            self._endings.refused(pack, error)
            return
        try:
            worker = self._executor.start(job)
        except ValueError as error:
            self._endings.refused(pack, error)
            return
        placed = Placed(pack, worker, job.resources, job.ended, limit, self._monotonic(), node=node)
        placed.advance()
        self.placed.append(placed)

    def collect(self, timeout: float) -> None:
        """Commit the slices that have arrived."""
        by_worker = {id(placed.worker): placed for placed in self.placed}
        workers = [placed.worker for placed in self.placed]
        reports = self._executor.ready(workers, timeout) if workers else []
        arrived = self._monotonic()
        for worker, report in reports:
            placed = by_worker[id(worker)]
            placed.arrived, placed.since = arrived, self._monotonic()
            placed.idle_seconds += report.idle_seconds
            if placed in self.placed:
                with about(placed.pack.experiment.id), _slice_span(placed, report):
                    self._handle(placed, report)
                placed.sliced_ns = time.time_ns()

    def end_hung(self) -> None:
        """Give up workers that have not answered for far longer than any slice takes.

        Raises:
            ClusterLost: A worker has not started although its resources are certainly free.
        """
        now = self._monotonic()
        for placed in list(self.placed):
            if not placed.worker.started():
                self._look_for(placed, now)
            elif now - placed.since > placed.slice_limit:
                limit = placed.slice_limit
                message = f"no answer for {now - placed.since:.0f} s (limit {limit:.0f} s)"
                try:
                    self._fail(placed, Failure(FailureReason.WORKER_LOST, message))
                except Fenced:
                    self._forget(placed)

    def _look_for(self, placed: Placed, now: float) -> None:
        """Check whether a pending worker is being started."""
        if placed.worker.alive() or not placed.node:
            placed.since = placed.asked = now  # it loads its pack, or waits for a node
            return
        placed.since = now
        waited, limit = now - placed.asked, self._settings.worker_start_seconds
        if waited < _START_SECONDS:
            return
        if why := self._executor.stuck(placed.worker, late=waited > limit):
            raise ClusterLost(
                f"the worker of pack {placed.pack.id} of {placed.pack.experiment.id} has not started for "
                f"{waited:.0f} s though its resources are free (IPLAB_WORKER_START_SECONDS: {limit:g}): {why}"
            )
        if waited > limit:
            # Others must hold resources that dispatchers count as free. It may start elsewhere or later.
            _log.warning("pack %s of %s got no worker on node %s", placed.pack.id, placed.key[0], placed.node)
            self.shunned[placed.node] = now + limit
            self.give_back(placed)

    def give_back(self, placed: Placed) -> None:
        """End an attempt early. The pack waits again and loses nothing."""
        try:
            self._store.end_attempt(*placed.key, placed.pack.token, failure=None, retry=True)
        except Fenced:
            _log.warning("pack %s of %s was already taken over", placed.pack.id, placed.pack.experiment.id)
        if placed.told:
            self._forget(placed)
        else:
            self.placed.remove(placed)
            placed.worker.release()  # it has answered all requests and can take another pack

    def abandon(self) -> None:
        """Stop all workers without writing to the store. Their leases are not renewed and expire."""
        for placed in list(self.placed):
            self._forget(placed)

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
                # Queue the next slice before this one is committed, so that the device does not wait.
                placed.advance()
            result = self._record(placed, report, overlooked)
            placed.ended = result.ended
            self._endings.discard(result.obsolete_checkpoints)
            if result.done:
                self.placed.remove(placed)
                placed.worker.release()
                self._endings.done(placed)
            elif placed.draining and not placed.told:
                self.give_back(placed)
            elif result.pausing:
                placed.drain()
        except DatasetChanged as error:
            self._fail(placed, Failure(FailureReason.DATA_UNAVAILABLE, str(error)))
        except Fenced as error:
            _log.warning("pack %s of %s is led by another dispatcher: %s", pack, experiment, error)
            self._forget(placed)

    def _finish(self, placed: Placed, report: SliceReport, overlooked: frozenset[int]) -> None:
        """Commit a pack's last slice after giving its worker the next pack."""
        self.leaving = placed
        self.placed.remove(placed)
        try:
            placed.worker.release()
            if not self._draining:
                self._refill()
        finally:  # commit this pack even if starting the next one failed
            try:
                self._record(placed, report, overlooked)
            finally:
                self.leaving = None
        self._endings.done(placed)

    def _record(self, placed: Placed, report: SliceReport, overlooked: frozenset[int]) -> CommitResult:
        """Commit a slice. `overlooked` runs were cancelled after the slice was queued."""
        key, token, commit = placed.key, placed.pack.token, report.commit
        if commit is None:
            saved = report.repeated.checkpoint if report.repeated else None
            self._observer.repeated()
            return self._store.settle(*key, token, saved)
        if overlooked and commit.segment:
            # Drop the points of runs after their end.
            commit = replace(commit, segment=segments.without(commit.segment, overlooked))
        result = self._store.commit_slice(*key, token, commit)
        steps = max(0, commit.last_step - max(placed.committed, placed.pack.committed_steps))
        live = len(placed.pack.runs) - len(placed.ended)
        self._observer.committed(steps * live, self._monotonic() - placed.arrived)
        placed.committed = commit.last_step
        if commit.artifacts or commit.checkpoint is not None:
            self.rest.reset()
        return result

    def _fail(self, placed: Placed, failure: Failure) -> None:
        self._endings.failed(placed, failure)
        self._forget(placed)

    def _forget(self, placed: Placed) -> None:
        if placed in self.placed:  # otherwise its worker already has another pack
            placed.worker.stop()
            self.placed.remove(placed)


def _slice_span(placed: Placed, report: SliceReport) -> AbstractContextManager[object]:
    """Span of a slice in the call's trace: from the end of the one before (or the start) to its commit."""
    steps = (
        {}
        if report.commit is None
        else {"first_step": report.commit.first_step, "last_step": report.commit.last_step}
    )
    return span(
        "slice",
        parent=placed.pack.experiment.trace or None,
        start_ns=placed.sliced_ns,
        experiment=placed.pack.experiment.id,
        pack=placed.pack.id,
        node=placed.node,
        **steps,
    )
