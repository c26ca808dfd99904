"""Temporary folders of this machine that do not outlive their process by much, even if it is killed.

Whoever uses one holds a lock on it, which the system lets go when the process ends, however it ends. The
first use in a process removes what others have left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ipserver.artifacts import writing

_PREFIX: Final = "iplab-scratch-"
# A folder that is younger may not be locked yet.
_SETTLED_SECONDS: Final = 60.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new, empty folder while the context lasts.

    Raises:
        ArtifactsUnavailable: There is no room for it.
    """
    _tidy_once()
    with writing(tempfile.gettempdir()):
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
    with folder, _locked(Path(folder.name)):
        yield Path(folder.name)


def remove_abandoned(settled_seconds: float = _SETTLED_SECONDS) -> int:
    """Remove the scratch folders of processes that are gone; returns how many.

    Args:
        settled_seconds: Folders that were changed since may be about to be locked, and stay.
    """
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Other users' folders, and those that vanish meanwhile, are no concern of ours.
        with contextlib.suppress(OSError):
            # One from the future was made while the clock was ahead.
            if 0 <= time.time() - folder.stat().st_mtime < settled_seconds:
                continue
            with _locked(folder):
                shutil.rmtree(folder)
                removed += 1
    return removed


@functools.cache
def _tidy_once() -> None:
    remove_abandoned()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises BlockingIOError if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
