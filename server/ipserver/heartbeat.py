"""A sign of life, for health checks of parts that answer nobody: `healthy fresh FILE SECONDS`."""

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
