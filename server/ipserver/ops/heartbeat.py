"""Heartbeats of parts without a server, for `ipserver up` and for `healthy fresh FILE SECONDS`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
_SECONDS: Final = 5.0


class Heartbeat:
    """Touch a file when called, at most once every few seconds.

    Args:
        path: The file; its folder is created if necessary.
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
        """Record progress. Call this from the working loop."""
        now = self._monotonic()
        if now < self._next:
            return
        self._next = now + _SECONDS
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:  # on a full disk, work continues as far as possible
            _log.warning("the heartbeat file cannot be written: %s", error)


class Pulses:
    """Supervision of a process with several heartbeats: it hangs if one of its threads does.

    Args:
        pulses: One per thread, at least one.
    """

    def __init__(self, *pulses: Pulse) -> None:
        self._pulses = pulses

    @property
    def seconds(self) -> float:
        """The timeout of the heartbeat that stopped, or else the shortest timeout."""
        stopped = [pulse.seconds for pulse in self._pulses if pulse.stopped()]
        return min(stopped or [pulse.seconds for pulse in self._pulses])

    def stopped(self) -> bool:
        """Whether a thread has shown no progress for longer than its timeout."""
        return any(pulse.stopped() for pulse in self._pulses)


class Pulse:
    """Supervision of a heartbeat.

    Time is measured by this process's monotonic clock, which stands still while a machine sleeps.

    Args:
        path: The heartbeat's file.
        seconds: Timeout: the longest time without progress.
        monotonic: Clock, in seconds.
    """

    def __init__(self, path: Path, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._path = path
        self._monotonic = monotonic
        self._seen = self._last()
        self._since = monotonic()

    def stopped(self) -> bool:
        """Whether the part has shown no progress for longer than its timeout."""
        last = self._last()
        if last != self._seen:
            self._seen, self._since = last, self._monotonic()
        return self._monotonic() - self._since > self.seconds

    @property
    def age(self) -> float | None:
        """Seconds since the last heartbeat by the machine's clock; None: there was none."""
        try:
            return max(0.0, time.time() - self._path.stat().st_mtime)
        except OSError:
            return None

    def _last(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None
