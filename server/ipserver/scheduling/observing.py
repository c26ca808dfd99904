"""Events of a dispatcher's work, for metrics."""

from __future__ import annotations

from typing import Final

from ipserver.store.states import FailureReason


class Observer:
    """Observer of a dispatcher, called in its thread. This base class ignores every call."""

    def committed(self, updates: int, lag_seconds: float) -> None:
        """A slice was committed.

        Args:
            updates: Updates in it, summed over the runs that were still trained.
            lag_seconds: Seconds from its arrival at the dispatcher until the end of its commit.
        """

    def repeated(self) -> None:
        """A slice repeated steps that had been committed before."""

    def failed(self, reason: FailureReason) -> None:
        """An attempt at a pack failed."""


IGNORE: Final = Observer()
