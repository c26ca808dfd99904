"""Resumes interrupted watches, by one rule for experiments and studies, sync and async."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from iplab.errors import IplabError, TimedOutError, UnavailableError, WatchOverflowError
from iplab.given import seconds_of

_FIRST_DELAY: Final = 0.1
_LAST_DELAY: Final = 2.0


class Resuming:
    """State of a watch across interruptions. It makes no calls and does not sleep; the caller does both.

    Args:
        name: Name of what is watched, "experiments/{experiment}".
        timeout: Seconds until TimedOutError; None: no limit.
        patience: Seconds without the service until UnavailableError.
        say: Called with a message when the service stops answering, and when it answers again.
    """

    def __init__(
        self,
        name: str,
        timeout: float | None = None,
        patience: float = 60.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._name, self._timeout, self._patience, self._say = name, timeout, patience, say
        timeout = seconds_of("timeout", timeout)
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._delay = _FIRST_DELAY
        self._lost: float | None = None  # since when the service has not answered

    @property
    def lost(self) -> bool:
        """Whether the service did not answer. A silent watch may not show that it is back, so read first."""
        return self._lost is not None

    def found(self) -> None:
        """Record that the service has answered."""
        if self._lost is not None and self._say is not None:
            self._say("the service answers again")
        self._lost, self._delay = None, _FIRST_DELAY

    def left(self) -> float | None:
        """Seconds until the timeout; None without one."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def survive(self, error: IplabError) -> None:
        """Continue after an error of a call, or raise the error with which the watch ends."""
        if isinstance(error, WatchOverflowError):
            self._delay = _FIRST_DELAY
        elif isinstance(error, TimedOutError) and self._timeout is not None:
            raise TimedOutError(f"{self._name} has not ended within {self._timeout:g} s") from None
        elif isinstance(error, UnavailableError):
            if self._lost is None:
                self._lost = time.monotonic()
                if self._say is not None:
                    self._say(f"the service does not answer; it is awaited for {self._patience:g} s")
            if time.monotonic() - self._lost > self._patience:
                raise error
        else:
            raise error

    def delay(self) -> float:
        """Seconds to wait before the next call."""
        now, self._delay = self._delay, min(2 * self._delay, _LAST_DELAY)
        return now
