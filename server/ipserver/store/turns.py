"""Fair locks, for threads and for processes.

Waiters for SQLite's own lock poll it at growing intervals, and Python's locks are not fair. Under load, a
thread or process could be overtaken for seconds, and a lease could expire meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import deque
from pathlib import Path

_POLL_SECONDS = 0.0005
_KEPT_SECONDS = 0.05


class Turns:
    """A lock that goes to the thread that has waited longest. Not reentrant.

    >>> with Turns():
    ...     print("mine")
    mine
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            # Held until `_pass_on` releases it: a turn is handed to the next waiter, never contended.
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            mine.acquire()
        except BaseException:  # interrupted: the turn must not be handed to a waiter that has left
            with self._guard:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                else:
                    self._pass_on()
            raise

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._pass_on()

    @property
    def awaited(self) -> bool:
        """Whether a thread waits."""
        return bool(self._waiting)

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._taken = False


class WriteTurns:
    """Fair turns for all writers of one database file: threads of this process and other processes.

    Two files beside the database are locked. The lock on the second file is the turn. The next process waits
    for it and holds the lock on the first file, so the previous holder cannot take the turn again before it.
    A process passes the turn among its own threads for a while, because waking another process is slow on a
    busy machine. Turns are only advisory: after `patience`, or if no file can be made, a writer continues
    without one, and the database's own lock decides. The kernel releases the locks of a dead process.

    Args:
        database: The database's file.
        patience: Longest wait for other processes, in seconds.
    """

    def __init__(self, database: Path, patience: float = 10.0) -> None:
        self._threads = Turns()
        self._paths = [database.with_name(f"{database.name}-{name}") for name in ("next", "turn")]
        self._files: list[int] = []
        self._patience = patience
        self._since: float | None = None

    def __enter__(self) -> None:
        self._threads.__enter__()
        try:
            if self._since is None:
                self._take()
        except BaseException:
            self._threads.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._since is not None:
            kept = time.monotonic() - self._since
            if kept > _KEPT_SECONDS or not self._threads.awaited:
                fcntl.flock(self._files[1], fcntl.LOCK_UN)
                self._since = None
        self._threads.__exit__()

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        with self._threads:
            while self._files:
                os.close(self._files.pop())
            self._since = None

    def _take(self) -> None:
        end = time.monotonic() + self._patience
        try:
            if not self._files:
                self._files = [os.open(path, os.O_RDONLY | os.O_CREAT, 0o644) for path in self._paths]
        except OSError:
            return
        following, turn = self._files
        if _lock(following, end):
            if _lock(turn, end):
                self._since = time.monotonic()
            fcntl.flock(following, fcntl.LOCK_UN)


def _lock(file: int, end: float) -> bool:
    """Lock a file, polling until `end` (time.monotonic), since flock has no timeout; False: not locked."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True
