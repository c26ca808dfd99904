"""Events of a forwarder's work, for metrics."""

from __future__ import annotations

from typing import Final


class Observer:
    """Observer of a forwarder, called in any of its threads. This base class ignores every call."""

    def points(self, count: int) -> None:
        """A number of points is about to be sent to MLflow."""

    def taken(self) -> None:
        """MLflow has accepted a run's new data."""

    def refused(self) -> None:
        """MLflow has refused a run's new data, which will be sent again."""


IGNORE: Final = Observer()
