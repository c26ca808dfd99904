"""Refuses new work when disk space is low, so that accepted work can finish."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ipserver.errors import QuotaExceeded
from ipserver.request.problems import human_bytes

LIMIT = "free_bytes"


@dataclass(frozen=True, slots=True)
class Room:
    """The disks of this machine that the service writes to, and the space to keep free on them.

    Attributes:
        folders: A folder on each disk, by what it holds ("store").
        least: Bytes that must be free on each disk; 0 disables the check.
    """

    folders: Mapping[str, Path] = field(default_factory=dict)
    least: int = 0

    def require(self) -> None:
        """Raise QuotaExceeded if a disk has less free space. Missing folders are ignored."""
        if not self.least:
            return
        for name, folder in self.folders.items():
            there = next((path for path in (folder, *folder.parents) if path.exists()), None)
            if there is None or (free := shutil.disk_usage(there).free) >= self.least:
                continue
            raise QuotaExceeded(
                f"the disk of the service's {name} has {human_bytes(free)} free, less than the "
                f"{human_bytes(self.least)} below which nothing new is accepted (IPLAB_MIN_FREE_BYTES); "
                "accepted work continues. Delete and purge what is not needed (`iplab delete`, "
                "`iplab purge`), or free disk space",
                "service",
                LIMIT,
            )
