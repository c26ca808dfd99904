"""Retries of calls, by the same rule in the sync and the async client."""

from __future__ import annotations

import random
from typing import Final

from iplab.errors import IplabError, QuotaExceededError, UnavailableError

# A service that is restarted on one machine is back within these delays. Callers may retry for longer.
RETRY_DELAYS: Final = (0.1, 0.2, 0.4, 0.8, 1.5)
# Requests refused by a rate limit are sent again within this time.
_PACE: Final = "requests_per_second"
_LONGEST_PACE: Final = 5.0


class Retries:
    """The remaining attempts of one call."""

    def __init__(self) -> None:
        self._delays = iter(RETRY_DELAYS)

    def delay_after(self, error: IplabError) -> float | None:
        """Seconds to wait before the next attempt; None if `error` is final."""
        least = 0.0
        if isinstance(error, QuotaExceededError):
            soon = error.retry_seconds is not None and error.retry_seconds <= _LONGEST_PACE
            if error.limit != _PACE or not soon:
                return None
            least = error.retry_seconds or 0.0
        elif not isinstance(error, UnavailableError):
            return None
        delay = next(self._delays, None)
        return None if delay is None else max(delay, least)


def jittered(delay: float) -> float:
    """About `delay` seconds, with jitter so that many clients do not return at the same moment."""
    return delay * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret
