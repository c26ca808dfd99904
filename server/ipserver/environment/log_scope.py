"""Context of log lines: request, caller, experiment. Threads and tasks inherit it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Scope:
    """Subject of log lines.

    Attributes:
        request_id: Request id of a call of the API; "" outside of calls.
        principal: The calling user; "" if there is none, or without authentication.
        experiment: Id of the experiment; "" for none or several.
    """

    request_id: str = ""
    principal: str = ""
    experiment: str = ""

    def fields(self) -> dict[str, str]:
        """The known fields by name."""
        named = {name: getattr(self, name) for name in ("request_id", "principal", "experiment")}
        return {name: value for name, value in named.items() if value}


_current: ContextVar[Scope | None] = ContextVar("log_scope", default=None)


def scope() -> Scope:
    """The current scope; outside of all scopes, a new empty one."""
    return _current.get() or Scope()


def enter(new: Scope) -> None:
    """Make a scope the current one until the end of this task or thread."""
    _current.set(new)


@contextmanager
def about(experiment: str) -> Iterator[None]:
    """Context whose log lines name an experiment."""
    token = _current.set(Scope(experiment=experiment))
    try:
        yield
    finally:
        _current.reset(token)
