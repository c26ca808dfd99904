"""A fair lock.

Whoever waits for SQLite's own lock polls for it, and Python's locks go to whoever comes first: under load, a
thread could be overtaken for seconds, and a lease run out meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque


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
            # Held until `_pass_on` releases it: a turn is handed over, never up for grabs.
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            mine.acquire()
        except BaseException:  # Interrupted: the turn must not go to one who is no longer there.
            with self._guard:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                else:
                    self._pass_on()
            raise

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self._taken = False
