"""Processes of this machine and their parents."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def marked(mark: str) -> dict[int, str]:
    """Processes with a variable ("NAME=value") in their environment: command line by pid."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if mark.encode() in variables and not _ended(folder):
                found[int(folder.name)] = _command(folder)
        except OSError:
            continue  # it ended meanwhile, or we have no permission
    return found


def children(parent: int) -> dict[int, str]:
    """All descendants of a process: command line by pid."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text()
            if _ended(folder):
                continue
            parents[int(folder.name)] = int(status.rpartition(")")[2].split()[1])
            commands[int(folder.name)] = _command(folder)
        except OSError:
            continue
    found: dict[int, str] = {}
    waiting = [parent]
    while waiting:
        above = waiting.pop()
        below = [pid for pid, its in parents.items() if its == above]
        found |= {pid: commands[pid] for pid in below}
        waiting += below
    return found


def start_time(pid: int) -> str:
    """When a running process was started, which tells it from a later one with its id; "": it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        return "" if _ended(folder) else (folder / "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def end_marked(mark: str, seconds: float = 20.0) -> None:
    """kill -9 of all processes with a variable in their environment."""
    deadline = time.monotonic() + seconds
    while (found := marked(mark)) and time.monotonic() < deadline:
        for pid in found:
            kill(pid)
        time.sleep(0.1)


def kill(pid: int) -> None:
    """kill -9; no error if the process has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _ended(folder: Path) -> bool:
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _command(folder: Path) -> str:
    return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
