"""Finds files of the service and ports of its Ray that other users of this machine can access."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from ipserver.workers.on_ray.processes import with_descendants

# Mode bits that give access to other users.
_OTHERS: Final = 0o077
# Files directly in the home folder.
_FILES: Final = (
    "iplab.db*",
    "ray-token",
    "service.json",
    "up.lock",
    "mlflow/mlflow.db*",
    "logs/*",
)
_LISTENING: Final = "0A"  # state in /proc/net/tcp


def tighten(home: Path) -> None:
    """Close an existing home folder and its files to other users, like newly created ones.

    Changes only files of this user, and only a folder that is a home: a folder such as /tmp that was named by
    mistake keeps its mode.
    """
    if not (home / "iplab.db").exists() and any(home.iterdir()):
        return
    for path in (home, *_known(home)):
        try:
            status = path.lstat()
            if status.st_uid == os.getuid() and status.st_mode & _OTHERS and not stat.S_ISLNK(status.st_mode):
                path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
        except OSError:
            continue  # the doctor reports it


def exposed(home: Path) -> list[str]:
    """Paths in a home folder that other users can access, with their modes; empty if the home is closed."""
    status = home.stat()
    if not status.st_mode & _OTHERS and status.st_uid == os.getuid():
        return []  # no other user can enter it
    return [_shown(home), *(_shown(path) for path in _known(home) if path.lstat().st_mode & _OTHERS)]


def readable_secrets(paths: Iterable[Path]) -> list[str]:
    """The files among `paths` that other users can read, with their modes."""
    found = []
    for path in paths:
        try:
            mode = path.stat().st_mode
            passable = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
        except OSError:
            continue  # the part that needs it reports why
        if mode & stat.S_IROTH and passable:
            found.append(_shown(path))
    return found


def processes_in(folder: Path) -> set[int]:
    """Processes of this user whose command line has a path in a folder, with their descendants."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "cmdline").read_bytes():
                found.add(int(process.name))
        except OSError:
            continue  # it has ended, or is another user's
    return with_descendants(found)


def open_ports(pids: Iterable[int]) -> list[str]:
    """Ports other than loopback on which processes listen, as "NAME (pid) at HOST:PORT"."""
    sockets = dict(_listening())
    found = []
    for pid in sorted(pids):
        process = Path("/proc", str(pid))
        try:
            opened = {str(entry.readlink()) for entry in (process / "fd").iterdir()}
            name = (process / "comm").read_text().strip()
        except OSError:
            continue
        found += [
            f"{name} ({pid}) at {address}"
            for inode, address in sockets.items()
            if f"socket:[{inode}]" in opened
        ]
    return found


def _listening() -> Iterator[tuple[str, str]]:
    """Inode and address of every listening socket that is not on loopback."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            host, _, port = words[1].partition(":")
            address = _address(host)
            if words[3] == _LISTENING and not address.is_loopback:
                yield words[9], f"{address}:{int(port, 16)}"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an address in the format of /proc/net/tcp: words of four bytes, each little-endian.

    >>> _address("0100007F"), _address("0000000000000000FFFF00000100007F")
    (IPv4Address('127.0.0.1'), IPv4Address('127.0.0.1'))
    """
    data = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    address = ipaddress.ip_address(data)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _known(home: Path) -> list[Path]:
    folders = [home / name for name in ("mlflow", "logs", "artifacts") if (home / name).is_dir()]
    return [*folders, *(path for pattern in _FILES for path in sorted(home.glob(pattern)))]


def _shown(path: Path) -> str:
    return f"{path} (mode {stat.S_IMODE(path.stat().st_mode):o})"
