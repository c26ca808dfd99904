"""What a forwarder tells whoever counts its work."""

from __future__ import annotations

from typing import Final


class Observer:
    """Hears of points and runs, in any of the forwarder's threads. This one ignores all of it."""

    def points(self, count: int) -> None:
        """So many points are handed to MLflow now."""

    def taken(self) -> None:
        """MLflow has taken a run's new data."""

    def refused(self) -> None:
        """MLflow has refused a run's new data, which will be sent again."""


IGNORE: Final = Observer()
