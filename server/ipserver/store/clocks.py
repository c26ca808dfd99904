"""Times in the store, judged by a clock that may have been wrong when they were written.

A machine that starts with a wrong clock, and is set right later, leaves times that lie ahead of it. A lease
cannot end later than its own length from now, and nothing can have happened in the future.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from ipserver.store.database import Transaction
from ipserver.store.tables import capacity, experiments, packs, singletons

# A clock that NTP sets back by less than this is not noticed: nobody loses what he holds by it.
SLACK_SECONDS: Final = 1.0


def over(
    expires: sa.ColumnElement[float | None], length: sa.ColumnElement[float | None], now: float
) -> sa.ColumnElement[bool]:
    """The condition that a lease has run out: it has ended, or it ends later than it can.

    Args:
        expires: When it ends, in seconds since 1970-01-01 UTC.
        length: Its own length in seconds; NULL: of a service that did not note it.
        now: The store's time.
    """
    # The comparison with a number alone lets an index on `expires` answer both halves.
    limit = now + SLACK_SECONDS
    return sa.or_(expires <= now, sa.and_(expires > limit, expires > limit + length))


def held(expires: float, length: float | None, now: float) -> bool:
    """Whether a lease still holds; the opposite of `over`.

    >>> held(110.0, 15.0, now=100.0)
    True
    >>> held(100.0, 15.0, now=100.0), held(3710.0, 15.0, now=100.0)
    (False, False)
    """
    return now < expires and (length is None or expires <= now + length + SLACK_SECONDS)


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
