"""A sign of life of parts that answer nobody, for `ipserver up` and for `healthy fresh FILE SECONDS`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
_SECONDS: Final = 5.0


class Heartbeat:
    """Touches a file when called, every few seconds at most.

    Args:
        path: The file, in a folder that may be missing.
        monotonic: Clock, in seconds.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "home" / "dispatch.alive"
    >>> Heartbeat(path)()
    >>> path.exists()
    True
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._next = float("-inf")

    def __call__(self) -> None:
        """Say that work goes on; called from the loop that does it."""
        now = self._monotonic()
        if now < self._next:
            return
        self._next = now + _SECONDS
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:  # on a full disk work goes on as far as it can
            _log.warning("no sign of life can be given: %s", error)


class Pulse:
    """Whether a heartbeat goes on.

    Judged by this process's own clock, which stands still while a machine sleeps.

    Args:
        path: The heartbeat's file.
        seconds: For how long it may stand still.
        monotonic: Clock, in seconds.
    """

    def __init__(self, path: Path, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._path = path
        self._monotonic = monotonic
        self._seen = self._last()
        self._since = monotonic()

    def stopped(self) -> bool:
        """Whether it has stood still for longer than it may, since this was made or it last moved."""
        last = self._last()
        if last != self._seen:
            self._seen, self._since = last, self._monotonic()
        return self._monotonic() - self._since > self.seconds

    def _last(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None
