"""Checks of stored times that a wrong clock may have written.

If a machine starts with a clock that is ahead and is corrected later, the store holds times in the future.
These facts reveal them: a lease ends at most its own length from now, nothing has happened in the future, and
nothing has ended before it began.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.tables import capacity, experiments, packs, singletons

# A clock that NTP sets back by less than this does not end any lease.
SLACK_SECONDS: Final = 1.0


def over(
    expires: sa.ColumnElement[float | None], length: sa.ColumnElement[float | None], now: float
) -> sa.ColumnElement[bool]:
    """The SQL condition that a lease has expired: its end has passed, or lies later than its length allows.

    Args:
        expires: When it ends, in seconds since 1970-01-01 UTC.
        length: The lease's length in seconds; NULL: written by a version that did not record it.
        now: The store's time.
    """
    # Each half compares `expires` with a bare number, so an index on `expires` answers both.
    limit = now + SLACK_SECONDS
    return sa.or_(expires <= now, sa.and_(expires > limit, expires > limit + length))


def held(expires: float, length: float | None, now: float) -> bool:
    """Whether a lease is still valid; the opposite of `over`.

    >>> held(110.0, 15.0, now=100.0)
    True
    >>> held(100.0, 15.0, now=100.0), held(3710.0, 15.0, now=100.0)
    (False, False)
    """
    return now < expires and (length is None or expires <= now + length + SLACK_SECONDS)


def lasted(
    start: sa.ColumnElement[float], end: sa.ColumnElement[float], now: float
) -> sa.ColumnElement[float]:
    """The SQL expression for the seconds from `start` to `end`; 0 if a wrong clock wrote one of them.

    Such an attempt would otherwise use up a project's month, or give hours back.
    """
    return sa.case((sa.and_(start <= end, end <= now + SLACK_SECONDS), end - start), else_=0.0)


def newest(transaction: Transaction) -> float | None:
    """See `Store.newest_time`."""
    times = (
        sa.select(sa.func.max(experiments.c.create_time)),
        sa.select(sa.func.max(capacity.c.time)),
        sa.select(sa.func.max(packs.c.expires - packs.c.lease_seconds)).where(packs.c.expires.is_not(None)),
        sa.select(sa.func.max(singletons.c.expires - singletons.c.seconds)),
    )
    found = [transaction.connection.execute(each).scalar_one() for each in times]
    return max((time for time in found if time is not None), default=None)
