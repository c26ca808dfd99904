"""Where tests write: in memory if it has room. Hundreds of databases otherwise wait for the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path("/dev/shm")
# Tests keep at most 300 MB of files at a time, and Ray has its object stores in the same folder.
ROOM_BYTES = 2 << 30


def folder() -> Path | None:
    """The folder in memory; None: there is none with enough room, and the usual temporary folder is taken."""
    try:
        return FOLDER if shutil.disk_usage(FOLDER).free >= ROOM_BYTES else None
    except OSError:
        return None
