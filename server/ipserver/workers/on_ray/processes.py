"""The processes of the dispatcher's own Ray.

systemd stops a service by sending SIGTERM to all of its processes at once. Ray's processes and the workers
would end before the workers have written checkpoints. So they start with SIGTERM blocked, and the dispatcher
ends them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_SETTLE_SECONDS: Final = 0.5


@contextmanager
def surrounded(folder: Path, *, shielded: bool) -> Iterator[set[int]]:
    """Context in which started processes get `folder` as working folder and, if shielded, block SIGTERM.

    Ray puts its driver's working folder on the search path of every worker. So the working folder is changed,
    because files such as `torch.py` in the original one would replace libraries.

    Args:
        folder: Temporary working folder; holds no importable files.
        shielded: Whether to block SIGTERM in the processes and their children.

    Yields:
        Ids of the child processes started inside the context; complete at its end. SIGTERM for this process
        is handled as before; if it arrives inside the context, it is delivered at the end.
    """
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    started: set[int] = set()
    before = _children(os.getpid())
    back = _open_working_folder()
    os.chdir(folder)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM} if shielded else set())
    try:
        yield started
    finally:
        if main:
            for number, handler in handlers.items():
                if handler is not None:  # None: set by a library outside of Python
                    signal.signal(number, handler)
        started |= _children(os.getpid()) - before
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if back is not None:
            os.fchdir(back)
            os.close(back)


@contextmanager
def ending(started: set[int], disconnected: Callable[[], bool]) -> Iterator[None]:
    """End Ray's processes while Ray shuts down, because they block the SIGTERM that Ray sends them.

    Descendants are noted before the shutdown: when a raylet ends, its agents and workers get another parent.

    Args:
        started: Ids of this process's children that belong to Ray.
        disconnected: Whether this process has disconnected from Ray; only then are Ray's processes killed.
    """
    done = threading.Event()
    noted = _start_times(with_descendants(started & _children(os.getpid())))

    def kill() -> None:
        while not (disconnected() or done.wait(0.05)):
            pass
        done.wait(_SETTLE_SECONDS)
        _kill(noted)

    thread = threading.Thread(target=kill, name="end Ray", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def end_left_in(folder: Path) -> None:
    """Kill processes that still work in `folder`: those whose raylet died before them."""
    left = set()
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if link.readlink().is_relative_to(folder):
                left.add(int(link.parent.name))
    _kill(_start_times(left - {os.getpid()}))


def _kill(noted: Mapping[int, str]) -> None:
    """Kill processes with all their descendants.

    Args:
        noted: Start time by id; a later process that was given the same id is spared.
    """
    same = {pid for pid, begun in _start_times(noted).items() if begun == noted[pid]}
    for pid in with_descendants(same):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def with_descendants(roots: Iterable[int]) -> set[int]:
    """Processes and all that they, or theirs, have started."""
    found = set(roots)
    parents = parents_of_processes()
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _start_times(pids: Iterable[int]) -> dict[int, str]:
    """Start time by id, in ticks since the system's start, of those that exist."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            found[pid] = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    return found


def _children(parent: int) -> set[int]:
    return {pid for pid, other in parents_of_processes().items() if other == parent}


def parents_of_processes() -> dict[int, int]:
    """Parent id by process id for all running processes; empty on systems without /proc."""
    found: dict[int, int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            # "PID (NAME) STATE PARENT ..."; a name may hold brackets and blanks.
            state, parent = file.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(file.parent.name)] = int(parent)
    return found


def _open_working_folder() -> int | None:
    """Descriptor of the working folder; None if it was removed or cannot be read."""
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
