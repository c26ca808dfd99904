"""Limits of projects and users, and their use.

A limit of a project counts everything in it; a limit of a user counts the user's part of a project. The
project "*" stands for each project without a limit of its own, and the user "*" likewise for users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from ipserver.errors import NotFound, QuotaExceeded
from ipserver.store.database import Transaction
from ipserver.store.records.accounts import EACH, KINDS, WHOLE, Quota, Use
from ipserver.store.shapes import amounts_of
from ipserver.store.tables import artifacts, attempts, experiments, purged, quotas
from ipserver.store.transactions import clocks, projects


@dataclass(frozen=True, slots=True)
class _Scope:
    """The counted experiments: of a project, or of a user in it ("": all users)."""

    project: str
    user: str

    def of(self, table: sa.Table = experiments) -> sa.ColumnElement[bool]:
        """The condition on rows of `experiments` or `purged`."""
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
    """The SQL expression for the seconds of an attempt since the time `month`."""
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


# Functions that sum up the use in a scope. The other kinds of limits have no use.
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
    """Set a limit, or remove it (None). Raises NotFound, and KeyError for an unknown kind."""
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
    """All limits that were set."""
    return [Quota(**row._mapping) for row in transaction.connection.execute(_EVERY)]


def limits_of(
    found: Mapping[tuple[str, str, str], float], project: str, user: str
) -> Iterator[tuple[str, str, float]]:
    """The limits that apply to a user in a project, as (user, name, value); user "" for the project's.

    Args:
        found: Values by project, user and name.
        project: Id of the project.
        user: The user; "" without authentication, when only the project's limits apply.
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
    """The limits that apply to a user in a project, with their use."""
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
    """Check that an addition keeps the limits of a project and a user. The caller has locked the project.

    Args:
        transaction: The transaction of the addition.
        project: Id of the project.
        user: The user; "" without authentication.
        adding: Added amounts by name of the limit, and the priority itself. Hours and bytes are not known in
            advance; their limits must not be reached yet.

    Raises:
        QuotaExceeded: A limit would be exceeded; names the first.
    """
    limits = list(limits_of(_values(transaction), project, user))
    _check_priority(limits, project, adding.get("priority", 0))
    for who, name, value in limits:
        subject, asked = _subject(project, who), adding.get(name, 0.0)
        if name in _USED:
            used = _used(transaction, project, who, name) or 0.0
            if (asked and used + asked > value) or (name not in _COUNTED and used >= value):
                raise _full(transaction, who, project, name, value, used, asked, subject)


def check_growth(
    transaction: Transaction, experiment: sa.Row[Any], asked_by: str, adding: Mapping[str, float]
) -> None:
    """As `check`, for more runs in an existing experiment, which count for its owner.

    If another user asks for them, no limit of a user may apply: they would use up the owner's limits, and
    those of the user who asks would not count them.

    Args:
        transaction: The transaction of the addition.
        experiment: Row of the experiment.
        asked_by: The user who asks; "": the owner.
        adding: As for `check`.

    Raises:
        QuotaExceeded: A limit would be exceeded, or a limit of one of two users applies.
    """
    project, owner = experiment.project, experiment.owned_by
    if asked_by in ("", owner):
        check(transaction, project, owner, adding)
        return
    check(transaction, project, WHOLE, adding)
    values = _values(transaction)
    for user in filter(None, (owner, asked_by)):
        for who, name, value in limits_of(values, project, user):
            if who == user and name in _USED:
                counted = f"its owner {owner!r}" if owner else "nobody, as it has no owner"
                text = (
                    f"runs of experiment {experiment.id!r} count for {counted}, and {_subject(project, who)} "
                    f"has the limit {name} of {value:g}; submit them as an experiment of your own"
                )
                raise _exceeded(who, project, name, text, never=True)


def retention_days(transaction: Transaction, project: str) -> float | None:
    """Days for which a project keeps experiments after their end; None: forever."""
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


# Limits that requests use; training uses the others.
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
    """Start of the month (UTC) that contains a time."""
    there = datetime.fromtimestamp(now, UTC)
    return datetime(there.year, there.month, 1, tzinfo=UTC).timestamp()


def next_month(now: float) -> float:
    """Start of the month (UTC) after the one that contains a time."""
    there = datetime.fromtimestamp(now, UTC)
    year, month = (there.year + 1, 1) if there.month == 12 else (there.year, there.month + 1)
    return datetime(year, month, 1, tzinfo=UTC).timestamp()


def _shown(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
