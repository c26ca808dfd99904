"""Limits requests per second of projects and users, by token buckets in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ipserver.api.blocking import Blocking
from ipserver.api.buckets import TokenBuckets
from ipserver.api.caller import caller
from ipserver.errors import RateExceeded
from ipserver.store.records.accounts import WHOLE
from ipserver.store.transactions.quotas import limits_of

if TYPE_CHECKING:
    from ipserver.store import Store

_NAME: Final = "requests_per_second"
# Seconds after which limits are read again.
_SECONDS: Final = 15.0


class Rates:
    """Refuses requests above the limits per second, with a burst of one second's worth.

    Args:
        store: The store of limits.
        blocking: Thread pool for calls of the store.
        counting: Whether requests are counted; not without authentication.
        monotonic: Clock, in seconds.
    """

    def __init__(
        self,
        store: Store,
        blocking: Blocking,
        *,
        counting: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counting = counting
        self._accounts = store.accounts
        self._blocking = blocking
        self._monotonic = monotonic
        self._limits: dict[tuple[str, str, str], float] = {}
        self._read = float("-inf")
        self._buckets = TokenBuckets[tuple[str, str]](monotonic=monotonic)

    async def take(self, project: str, user: str) -> None:
        """Count a request of a user in a project ("": in none). Raises RateExceeded.

        A request above the user's own limit does not count for the project, whose other users would miss it.
        """
        if not self._counting:
            return
        if self._monotonic() - self._read > _SECONDS:
            found = await self._blocking.run(self._accounts.quotas)
            self._limits = {
                (one.project, one.user, one.name): one.value for one in found if one.name == _NAME
            }
            self._read = self._monotonic()
        if self._limits:
            limits = limits_of(self._limits, project, user)
            for who, _, value in sorted(limits, key=lambda limit: limit[0] == WHOLE):
                self._count(project, who, value)

    async def take_for_caller(self) -> None:
        """Count a request of the caller that concerns no project, or that was refused before it was known."""
        who = caller()
        await self.take(who.charged(), who.user)

    def _count(self, project: str, user: str, rate: float) -> None:
        if seconds := self._buckets.take((project, user), rate, burst=max(rate, 1.0)):
            ever = math.isfinite(seconds)
            whose = f"project {project!r}" if project else "all users without a project together"
            if user:
                whose = f"user {user!r} in project {project!r}" if project else f"user {user!r}"
            subject = f"project:{project}" + (f"/user:{user}" if user else "")
            when = f"in {seconds:.2g} s" if ever else "when the limit has been raised"
            text = f"{whose} may send {rate:g} requests per second; ask again {when}"
            raise RateExceeded(text, subject, _NAME, seconds if ever else None, project=project)
