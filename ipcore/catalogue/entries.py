"""Common to all entries of the catalogue: a name, a one-line description, an implementation by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache
from typing import Any, Protocol, TypeVar


class Entry(Protocol):
    """One choice, under a name."""

    @property
    def name(self) -> str:
        """Name in specs."""
        ...

    @property
    def description(self) -> str:
        """One-line description."""
        ...


Named = TypeVar("Named", bound=Entry)


def table(entries: Iterable[Named]) -> dict[str, Named]:
    """Entries by name, in the order given.

    Raises:
        ValueError: Two have the same name.
    """
    found: dict[str, Named] = {}
    for entry in entries:
        if entry.name in found:
            raise ValueError(f"two entries of the catalogue are called {entry.name!r}")
        found[entry.name] = entry
    return found


@cache
def implementation(place: str) -> Any:
    """The object that an entry names as its implementation; its module is imported when it is first used.

    Args:
        place: "module:name".

    >>> implementation("math:pi")
    3.141592653589793
    """
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
