"""Removes the files of ended packs that nothing names: checkpoints, and what cut-off or killed workers left.

Only a pack itself writes below its folders of weights and checkpoints, and one that has ended is never led
again. So what no commit has named is nobody's, once no worker of it can be writing any more.
"""

from __future__ import annotations

import logging
import threading

from ipserver.artifacts import open_artifacts
from ipserver.environment.settings import Settings
from ipserver.errors import ServiceError
from ipserver.store import Store
from ipserver.store.records import EndedPack

_log = logging.getLogger(__name__)
_AT_ONCE = 20
_LONGEST_INTERVAL = 60.0


class Sweeper:
    """Sweeps packs in a while after their end. Several may run; what one has done, another finds done.

    Args:
        store: Says which packs have ended, and which files count.
        settings: Where files lie; `sweep_seconds`.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._artifacts = open_artifacts(settings.artifact_root)
        self._quiet = settings.sweep_seconds

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        while not stop.wait(min(self._quiet, _LONGEST_INTERVAL)):
            try:
                while self.sweep() == _AT_ONCE and not stop.is_set():
                    pass
            except (ServiceError, OSError) as error:
                # Files that nothing names cost room, not truth; the next turn tries again.
                _log.warning("leftover files stay for now: %s", error)

    def sweep(self) -> int:
        """Sweep some packs; returns how many.

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

    def _sweep(self, pack: EndedPack) -> None:
        files = self._artifacts
        weights = f"{pack.experiment}/weights/{pack.pack}"
        left = [place for place in files.below(weights) if place not in pack.named]
        if left:
            _log.info("%s, pack %s: %d leftover files are removed", pack.experiment, pack.pack, len(left))
        files.delete(left)
        files.delete_empty(weights)
        files.delete_folder(f"{pack.experiment}/checkpoints/{pack.pack}")
