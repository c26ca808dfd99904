"""Additional rows in a caller's transactions, committed together with the caller's own or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ipserver.store.database import Transaction


class Companion(Protocol):
    """Adds rows to the write transactions of one caller, in any thread."""

    def writing(self) -> AbstractContextManager[Callable[[Transaction, object], None]]:
        """Context of a write transaction, which is committed if the context ends without an error.

        Returns:
            A function to call in the transaction, with its result, before COMMIT. It is called again if the
            transaction is repeated.
        """


_current: ContextVar[Companion | None] = ContextVar("companion", default=None)


def companion() -> Companion | None:
    """The companion of writes in the current context."""
    return _current.get()


@contextmanager
def accompanied(by: Companion) -> Iterator[None]:
    """Let `by` accompany all writes in this context, including threads that run in a copy of it."""
    token = _current.set(by)
    try:
        yield
    finally:
        _current.reset(token)
