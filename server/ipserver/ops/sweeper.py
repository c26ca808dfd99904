"""Removes files: all files of purged experiments, and unreferenced files of ended packs.

Unreferenced are checkpoints of ended packs, and files that cut-off or killed workers have left.

Only a pack's own workers write below its folders of weights and checkpoints, and an ended pack is never
leased again. So uncommitted files can be removed once none of its workers can still be writing.
"""

from __future__ import annotations

import logging
import threading

from ipserver.artifacts import open_artifacts
from ipserver.artifacts.locations import checkpoints_folder, weights_folder
from ipserver.environment.settings import Settings
from ipserver.errors import ArtifactsUnavailable, ServiceError
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
        """Work until `stop` is set."""
        while not stop.wait(min(self._quiet, _LONGEST_INTERVAL)):
            try:
                while self.sweep() == _AT_ONCE and not stop.is_set():
                    pass
                while self.retire() == _AT_ONCE and not stop.is_set():
                    pass
                while self.purge() == _AT_ONCE and not stop.is_set():
                    pass
            except (ServiceError, OSError) as error:
                # Leftover files only cost disk space, and the next pass tries again.
                _log.warning("files to be removed stay for now: %s", error)

    def sweep(self) -> int:
        """Sweep some packs; return their number.

        Raises:
            StoreUnavailable: The store cannot be reached now.
            ArtifactsUnavailable: Files cannot be reached now.
            OSError: A file cannot be removed.
        """
        ended = self._store.unswept(self._quiet, _AT_ONCE)
        for pack in ended:
            self._sweep(pack)
            self._store.mark_swept(pack.experiment, pack.pack)
        return len(ended)

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
        """Purge some experiments and studies after their retention time; return the number of experiments.

        Files are removed before rows, so that no file is left without a row that refers to it.

        Raises:
            StoreUnavailable: The store cannot be reached now.
            ArtifactsUnavailable: Files cannot be reached now, or not all could be removed.
        """
        self._store.forget_purged_studies(self._acts)
        experiments = self._store.purged_experiments(self._quiet, _AT_ONCE, self._acts)
        for experiment in experiments:
            self._artifacts.delete_folder(experiment)
            if left := next(iter(self._artifacts.below(experiment)), None):
                raise ArtifactsUnavailable(
                    f"{left} of the purged experiment {experiment!r} cannot be removed"
                )
            while not self._store.forget_purged_experiment(experiment):
                pass
            _log.info("%s is purged", experiment)
        return len(experiments)

    def _sweep(self, pack: EndedPack) -> None:
        files = self._artifacts
        weights = weights_folder(pack.experiment, pack.pack)
        left = [place for place in files.below(weights) if place not in pack.named]
        if left:
            _log.info("%s, pack %s: %d leftover files are removed", pack.experiment, pack.pack, len(left))
        files.delete(left)
        files.delete_empty(weights)
        files.delete_folder(checkpoints_folder(pack.experiment, pack.pack))
