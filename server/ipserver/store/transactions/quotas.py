"""Limits of projects and users, and their use.

A limit of a project counts everything in it; a limit of a user counts what the user has in that project. The
project "*" stands for each project, and the user "*" for each user, without a limit of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from ipserver.errors import NotFound, QuotaExceeded
from ipserver.store.database import Transaction
from ipserver.store.records.accounts import EACH, KINDS, WHOLE, Quota, Use
from ipserver.store.shapes import amounts_of
from ipserver.store.tables import artifacts, attempts, experiments, purged, quotas
from ipserver.store.transactions import clocks, projects


@dataclass(frozen=True, slots=True)
class _Scope:
    """The counted experiments: those of a project, or of a user in it ("": of all users)."""

    project: str
    user: str

    def of(self, table: sa.Table = experiments) -> sa.ColumnElement[bool]:
        """The condition on `experiments`, or on `purged`."""
        condition: sa.ColumnElement[bool] = table.c.project == self.project
        return sa.and_(condition, table.c.owned_by == self.user) if self.user else condition


def _live(transaction: Transaction, scope: _Scope) -> float:
    statement = sa.select(sa.func.count()).where(scope.of(), experiments.c.end_time.is_(None))
    return float(transaction.connection.execute(statement).scalar_one())


def _queued(transaction: Transaction, scope: _Scope) -> float:
    total = sa.func.coalesce(sa.func.sum(experiments.c.queued + experiments.c.paused), 0)
    statement = sa.select(total).where(scope.of(), experiments.c.end_time.is_(None))
    return float(transaction.connection.execute(statement).scalar_one())


def _hours(resource: str) -> Callable[[Transaction, _Scope], float]:
    def hours(transaction: Transaction, scope: _Scope) -> float:
        month = month_start(transaction.now())
        there = (
            sa.select(experiments.c.shape, sa.func.sum(seconds_since(month, transaction.now())))
            .join(attempts, attempts.c.experiment == experiments.c.id)
            .where(scope.of())
            .group_by(experiments.c.shape)
        )
        gone = (
            sa.select(purged.c.shape, sa.func.sum(purged.c.seconds))
            .where(scope.of(purged), purged.c.purge_time >= month)
            .group_by(purged.c.shape)
        )
        rows = [*transaction.connection.execute(there), *transaction.connection.execute(gone)]
        return sum(amounts_of(row[0]).get(resource, 0.0) * float(row[1]) / 3600 for row in rows)

    return hours


def seconds_since(month: float, now: float) -> sa.ColumnElement[float]:
    """Seconds that an attempt has lasted since a time."""
    end = sa.func.coalesce(attempts.c.end_time, now)
    start = sa.case((attempts.c.start_time < month, month), else_=attempts.c.start_time)
    return clocks.lasted(start, end, now)


def _bytes(transaction: Transaction, scope: _Scope) -> float:
    statement = (
        sa.select(sa.func.coalesce(sa.func.sum(artifacts.c.size_bytes), 0))
        .join(experiments, experiments.c.id == artifacts.c.experiment)
        .where(scope.of())
    )
    return float(transaction.connection.execute(statement).scalar_one())


# What experiments in a scope use. The other kinds sum up nothing.
_USED: Final[Mapping[str, Callable[[Transaction, _Scope], float]]] = MappingProxyType(
    {
        "live_experiments": _live,
        "queued_runs": _queued,
        "core_hours": _hours("cpus"),
        "gpu_hours": _hours("gpus"),
        "artifact_bytes": _bytes,
    }
)


def set_quota(transaction: Transaction, project: str, user: str, name: str, value: float | None) -> None:
    """Set a limit; None: remove it. Raises NotFound, and KeyError if there is no such kind."""
    _ = KINDS[name]
    if project != EACH and not projects.exists(transaction, project):
        raise NotFound(f"there is no project {project!r}; `ipserver project create {project}` makes it")
    key = {"project": project, "user": user, "name": name}
    transaction.connection.execute(
        sa.delete(quotas).where(*(quotas.c[column] == one for column, one in key.items()))
    )
    if value is not None:
        transaction.connection.execute(sa.insert(quotas).values(**key, value=value))


_EVERY: Final = sa.select(quotas).order_by(quotas.c.project, quotas.c.user, quotas.c.name)


def listing(transaction: Transaction) -> list[Quota]:
    """Every limit that was set."""
    return [Quota(**row._mapping) for row in transaction.connection.execute(_EVERY)]


def limits_of(
    found: Mapping[tuple[str, str, str], float], project: str, user: str
) -> Iterator[tuple[str, str, float]]:
    """The limits that hold for what a user does in a project: user ("": the project's), name, value.

    Args:
        found: Values by project, user and name.
        project: Id of the project.
        user: The user; "" without authentication, so that only the project's limits hold.
    """
    for name in KINDS:
        whole = ((project, WHOLE), (EACH, WHOLE))
        own = ((project, user), (project, EACH), (EACH, user), (EACH, EACH)) if user else ()
        for who, places in ((WHOLE, whole), (user, own)):
            for place in places:
                if (value := found.get((*place, name))) is not None:
                    yield who, name, value
                    break


def uses(transaction: Transaction, project: str, user: str) -> list[Use]:
    """The limits that hold for what a user does in a project, with what is used."""
    reset = next_month(transaction.now())
    return [
        Use(
            project,
            who,
            name,
            value,
            _used(transaction, project, who, name),
            reset if KINDS[name].monthly else None,
        )
        for who, name, value in limits_of(_values(transaction), project, user)
    ]


def check(transaction: Transaction, project: str, user: str, adding: Mapping[str, float]) -> None:
    """Check that a project and a user may have more; the caller has locked the project.

    Args:
        transaction: In which it is added.
        project: Id of the project.
        user: The user; "": nobody had to say who they are.
        adding: How much of what is added, by name; the priority as it is. Hours and bytes, which nobody knows
            in advance, must not be used up.

    Raises:
        QuotaExceeded: The first limit that is reached.
    """
    limits = list(limits_of(_values(transaction), project, user))
    _check_priority(limits, project, adding.get("priority", 0))
    for who, name, value in limits:
        subject, asked = _subject(project, who), adding.get(name, 0.0)
        if name in _USED:
            used = _used(transaction, project, who, name) or 0.0
            if (asked and used + asked > value) or (name not in _COUNTED and used >= value):
                raise _full(transaction, who, project, name, value, used, asked, subject)


def retention_days(transaction: Transaction, project: str) -> float | None:
    """For how many days a project keeps experiments after their end; None: without end."""
    found = limits_of(_values(transaction), project, WHOLE)
    return next((max(0.0, value) for _, name, value in found if name == "retention_days"), None)


def check_priority(transaction: Transaction, project: str, user: str, asked: float) -> None:
    """Check that a project and a user may ask for a priority. Raises QuotaExceeded."""
    _check_priority(limits_of(_values(transaction), project, user), project, asked)


def _check_priority(limits: Iterable[tuple[str, str, float]], project: str, asked: float) -> None:
    for who, name, value in limits:
        if name == "priority" and asked > value:
            text = f"{_subject(project, who)} may ask for a priority of at most {value:g}, not {asked:g}"
            raise _exceeded(who, project, name, text, never=True)


def _subject(project: str, who: str) -> str:
    return f"project {project!r}" if who == WHOLE else f"user {who!r} in project {project!r}"


# Limits of what a request adds; the others are used up by training.
_COUNTED: Final = frozenset({"live_experiments", "queued_runs"})


def _full(
    transaction: Transaction,
    who: str,
    project: str,
    name: str,
    value: float,
    used: float,
    asked: float,
    subject: str,
) -> QuotaExceeded:
    kind, now = KINDS[name], transaction.now()
    more = f" and {asked:g} more are asked for" if asked else ""
    text = f"{subject} has {used:g} of {value:g} {name} ({kind.meaning}){more}"
    if kind.monthly:
        reset = next_month(now)
        return _exceeded(who, project, name, f"{text}; until {_shown(reset)}", reset - now)
    if asked > value:
        return _exceeded(who, project, name, f"{text}; ask for less", never=True)
    return _exceeded(who, project, name, f"{text}; until {kind.until}")


def _exceeded(
    who: str, project: str, name: str, text: str, seconds: float | None = None, *, never: bool = False
) -> QuotaExceeded:
    subject = f"project:{project}" + (f"/user:{who}" if who else "")
    return QuotaExceeded(text, subject, name, seconds, never=never)


def _values(transaction: Transaction) -> dict[tuple[str, str, str], float]:
    return {(one.project, one.user, one.name): one.value for one in listing(transaction)}


def _used(transaction: Transaction, project: str, user: str, name: str) -> float | None:
    used = _USED.get(name)
    if used is None:
        return None
    return used(transaction, _Scope(project, user))


def month_start(now: float) -> float:
    """The first moment of the month (UTC) of a time."""
    there = datetime.fromtimestamp(now, UTC)
    return datetime(there.year, there.month, 1, tzinfo=UTC).timestamp()


def next_month(now: float) -> float:
    """The first moment of the next month (UTC)."""
    there = datetime.fromtimestamp(now, UTC)
    year, month = (there.year + 1, 1) if there.month == 12 else (there.year, there.month + 1)
    return datetime(year, month, 1, tzinfo=UTC).timestamp()


def _shown(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
