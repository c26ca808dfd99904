"""Removes files: all files of purged experiments, and unreferenced files of ended packs.

Unreferenced are checkpoints of ended packs, and files that cut-off or killed workers have left.

Only a pack's own workers write below its folders of weights and checkpoints, and an ended pack is never
leased again. So uncommitted files can be removed once none of its workers can still be writing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from ipserver.artifacts import open_artifacts
from ipserver.artifacts.locations import checkpoints_folder, weights_folder
from ipserver.environment.settings import Settings
from ipserver.errors import ArtifactsUnavailable, StoreUnavailable
from ipserver.store import Store
from ipserver.store.records.audit import OwnActs
from ipserver.store.records.packs import EndedPack

_log = logging.getLogger(__name__)
_AT_ONCE = 20
_LONGEST_INTERVAL = 60.0


class Sweeper:
    """Sweeps packs some time after their end. Sweeping is repeatable, so several sweepers may run at once.

    Args:
        store: The store, which has the ended packs and their committed files.
        settings: Provide the artifact root and `sweep_seconds`.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._artifacts = open_artifacts(settings.artifact_root)
        self._quiet = settings.sweep_seconds
        self._keep = settings.deleted_seconds
        self._acts = OwnActs(settings.audit_seconds)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. Neither kind of work waits for another that fails."""
        while not stop.wait(min(self._quiet, _LONGEST_INTERVAL)):
            for work in (self.sweep, self.retire, self.purge):
                try:
                    while work() == _AT_ONCE and not stop.is_set():
                        pass
                except (StoreUnavailable, ArtifactsUnavailable) as error:
                    _log.warning("files to be removed stay for now: %s", error)
                except Exception:
                    # The thread must survive a defect, because no other thread removes files here.
                    _log.exception("files could not be removed")

    def sweep(self) -> int:
        """Sweep some packs; return their number, without packs whose files cannot be removed now.

        Raises:
            StoreUnavailable: The store cannot be reached now.
            ArtifactsUnavailable: Files cannot be reached now.
        """
        ended = self._store.unswept(self._quiet, _AT_ONCE)
        return sum(self._removes(pack.experiment, partial(self._sweep, pack)) for pack in ended)

    def retire(self) -> int:
        """Delete some experiments whose project's retention time has ended; return their number.

        Raises:
            StoreUnavailable: The store cannot be reached now.
        """
        old = self._store.delete_old_experiments(self._keep, _AT_ONCE, self._acts)
        for experiment in old:
            _log.info("%s is deleted by the retention rule of its project", experiment)
        return len(old)

    def purge(self) -> int:
        """Purge some experiments and studies after their retention time.

        Files are removed before rows, so that no file is left without a row that refers to it.

        Returns:
            The number of purged experiments, without those whose files cannot be removed now.

        Raises:
            StoreUnavailable: The store cannot be reached now.
            ArtifactsUnavailable: Files cannot be reached now.
        """
        self._store.forget_purged_studies(self._acts)
        experiments = self._store.purged_experiments(self._quiet, _AT_ONCE, self._acts)
        return sum(self._removes(name, partial(self._purge, name)) for name in experiments)

    def _removes(self, experiment: str, remove: Callable[[], None]) -> bool:
        """Whether `remove` succeeds. A file that cannot be removed holds up no other; it is tried again."""
        try:
            remove()
        except OSError as error:
            # Leftover files only cost disk space.
            _log.warning("%s: files to be removed stay for now: %s", experiment, error)
            return False
        return True

    def _purge(self, experiment: str) -> None:
        self._artifacts.delete_folder(experiment)
        if left := next(iter(self._artifacts.below(experiment)), None):
            raise OSError(f"{left} of the purged experiment cannot be removed")
        while not self._store.forget_purged_experiment(experiment):
            pass
        _log.info("%s is purged", experiment)

    def _sweep(self, pack: EndedPack) -> None:
        files = self._artifacts
        weights = weights_folder(pack.experiment, pack.pack)
        left = [place for place in files.below(weights) if place not in pack.named]
        if left:
            _log.info("%s, pack %s: %d leftover files are removed", pack.experiment, pack.pack, len(left))
        files.delete(left)
        files.delete_empty(weights)
        files.delete_folder(checkpoints_folder(pack.experiment, pack.pack))
        self._store.mark_swept(pack.experiment, pack.pack)
