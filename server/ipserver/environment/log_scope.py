"""Context of log lines: request, caller, experiment. It follows calls into threads and tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Scope:
    """Subject of the log lines written inside it.

    Attributes:
        request_id: Request id of a call of the API; "": no call.
        principal: The user who calls; "": none, or the service has no authentication.
        experiment: Id; "": none, or several.
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
    """The present scope; outside of any, an empty one that nothing refers to."""
    return _current.get() or Scope()


def enter(new: Scope) -> None:
    """Make a scope the present one, until the end of this task or thread."""
    _current.set(new)


@contextmanager
def about(experiment: str) -> Iterator[None]:
    """The lines written inside are about an experiment."""
    token = _current.set(Scope(experiment=experiment))
    try:
        yield
    finally:
        _current.reset(token)
