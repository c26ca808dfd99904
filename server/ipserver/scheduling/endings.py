"""How attempts at packs end (done, tried again, split or given up), what is told and what is removed then."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from ipserver.artifacts import ArtifactStore
from ipserver.artifacts.locations import checkpoints_folder
from ipserver.environment.settings import Settings
from ipserver.errors import ArtifactsUnavailable
from ipserver.request.problems import human_bytes
from ipserver.scheduling.assembly import defect
from ipserver.scheduling.observing import Observer
from ipserver.scheduling.placed import Placed
from ipserver.scheduling.retries import Action, Rest, decide
from ipserver.store import Store
from ipserver.store.records.packs import LeasedPack
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason

_log = logging.getLogger(__name__)


class Endings:
    """Ends attempts in the store, as `retries.decide` says. It does not stop their workers.

    Args:
        store: The store.
        artifacts: Files of the packs.
        settings: Retries.
        observer: Notified of failed attempts.
        rest: Pause of starts, extended when files cannot be written.
        monotonic: Clock for intervals, in seconds.
    """

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        settings: Settings,
        observer: Observer,
        rest: Rest,
        monotonic: Callable[[], float],
    ) -> None:
        self._store, self._artifacts, self._settings = store, artifacts, settings
        self._observer, self._rest, self._monotonic = observer, rest, monotonic

    def done(self, placed: Placed) -> None:
        """Tell of a pack whose last slice is committed."""
        experiment, pack = placed.key
        idle = placed.idle_seconds
        _log.info("pack %s of %s is done; it waited %.3f s for slices", pack, experiment, idle)
        self._remove_checkpoints(placed.pack)

    def failed(self, placed: Placed, failure: Failure) -> None:
        """End a failed attempt: the pack is tried again, split or given up."""
        self._observer.failed(failure.reason)
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

    def lost_too_often(self, pack: LeasedPack) -> bool:
        """Give up a newly leased pack whose leases have expired too often, and return whether that is so.

        When a lease expires, no dispatcher decides about the failure; the next one decides here.
        """
        if decide(FailureReason.LEASE_LOST, pack.fruitless, self._settings).action is not Action.FAIL:
            return False
        times = pack.fruitless[FailureReason.LEASE_LOST]
        message = f"{times} dispatchers in a row died or were cut off before this pack committed anything"
        self._end(pack, Failure(FailureReason.LEASE_LOST, message), f"failed: {message}", retry=False)
        return True

    def refused(self, pack: LeasedPack, error: Exception) -> None:
        """Give up a pack that this version cannot start."""
        _log.error("pack %s of %s cannot be started", pack.id, pack.experiment.id, exc_info=error)
        failure = defect("starting the pack", error)
        self._store.end_attempt(pack.experiment.id, pack.id, pack.token, failure=failure, retry=False)

    def discard(self, obsolete: Iterable[str]) -> None:
        """Remove checkpoints that newer ones replace."""
        self._discard(lambda: self._artifacts.delete(obsolete))

    def _split(self, pack: LeasedPack, failure: Failure, what: str) -> None:
        """End the attempt of a pack that is too large and split it. Its parts wait for workers."""
        self._tell(pack, what)
        self._store.split_pack(pack.experiment.id, pack.id, pack.token, failure=failure)
        self._remove_checkpoints(pack)

    def _end(self, pack: LeasedPack, failure: Failure, what: str, *, retry: bool) -> None:
        """End a failed attempt and report whether the pack is retried."""
        self._tell(pack, what)
        self._store.end_attempt(pack.experiment.id, pack.id, pack.token, failure=failure, retry=retry)
        if not retry:
            self._remove_checkpoints(pack)

    def _tell(self, pack: LeasedPack, what: str) -> None:
        self._store.notice(pack.experiment.id, f"pack {pack.id} {what}"[:500])
        _log.warning("pack %s of %s %s", pack.id, pack.experiment.id, what)

    def _remove_checkpoints(self, pack: LeasedPack) -> None:
        """Remove a finished pack's checkpoints, including uncommitted ones."""
        self._discard(lambda: self._artifacts.delete_folder(checkpoints_folder(pack.experiment.id, pack.id)))

    def _discard(self, delete: Callable[[], None]) -> None:
        """Delete unreferenced files. A failure only costs disk space, so it is logged and ignored."""
        try:
            delete()
        except (ArtifactsUnavailable, OSError) as error:
            _log.warning("old checkpoints are not removed: %s", error)
