"""The caller of a request: a user with roles in projects."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from ipserver.environment.log_scope import scope
from ipserver.names import DEFAULT_PROJECT
from ipserver.store.records.accounts import EVERY, Role
from ipserver.store.records.filters import ALL, Comparison, Filter, Junction


@dataclass(frozen=True, slots=True)
class Caller:
    """A user whose token was checked.

    Attributes:
        user: Name; "" without authentication.
        roles: Role by project; the project "*" stands for all.
    """

    user: str
    roles: Mapping[str, Role]

    def role(self, project: str) -> int:
        """The role in a project; 0: none."""
        return max(self.roles.get(project, 0), self.roles.get(EVERY, 0))

    def highest(self) -> int:
        """The highest role in any project; 0: none."""
        return max(self.roles.values(), default=0)

    def projects(self) -> list[str] | None:
        """The projects that the caller may read, sorted; None: all."""
        return None if EVERY in self.roles else sorted(self.roles)

    def visible(self) -> Filter:
        """The condition on experiments that the caller may read."""
        own = self.projects()
        if own is None:
            return ALL
        return Junction("OR", tuple(Comparison("project", "=", project) for project in own))

    def project(self, role: Role) -> str:
        """The project of a request that names none: the only one with the role, or the default."""
        allowed = [project for project, has in self.roles.items() if has >= role]
        return allowed[0] if len(allowed) == 1 and allowed != [EVERY] else DEFAULT_PROJECT

    def charged(self) -> str:
        """The project that a request counts for if it concerns none, or is refused before that is known.

        It is a project of the caller, so nobody uses up the limits of others: the default project, or else
        the first by name. "" if there is none.
        """
        if self.role(DEFAULT_PROJECT):
            return DEFAULT_PROJECT
        return min(self.roles, default="")


# The caller when the service has no authentication.
ANYONE: Final = Caller("", {EVERY: Role.ADMIN})

# The caller of the running request. It has no default, so that a method reached without a check fails.
_current: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """The caller of the running request."""
    return _current.get()


def user_if_known() -> str:
    """The user of the running request; "" if not known yet, or without authentication."""
    who = _current.get(None)
    return who.user if who else ""


def set_caller(who: Caller) -> None:
    """Set the caller of the running request, also for its log lines."""
    _current.set(who)
    scope().principal = who.user
