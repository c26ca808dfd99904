"""Additional rows in the transactions of a caller: both are committed, or neither is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ipserver.store.database import Transaction


class Companion(Protocol):
    """Accompanies the writes of one caller, in whichever threads it makes them."""

    def writing(self) -> AbstractContextManager[Callable[[Transaction, object], None]]:
        """Surround a transaction that writes; leaving without an error means that it is committed.

        Returns:
            A function to be called in the transaction, with its result, before COMMIT. It is called again if
            the transaction is repeated.
        """


_current: ContextVar[Companion | None] = ContextVar("companion", default=None)


def companion() -> Companion | None:
    """The companion of writes in the running context."""
    return _current.get()


@contextmanager
def accompanied(by: Companion) -> Iterator[None]:
    """Let `by` accompany all that the block writes, also in threads that run in a copy of its context."""
    token = _current.set(by)
    try:
        yield
    finally:
        _current.reset(token)
