"""Collects the violations of a request, and words their messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from ipcore.errors import nearest
from ipserver.errors import FieldViolation

T = TypeVar("T", bound=Hashable)
# Similar names are suggested for this many unknown names only: each search takes a millisecond.
_SUGGESTIONS = 20


class Problems:
    """Violations in the order in which they were found."""

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []
        self._unknown = 0

    def add(self, field: str, message: str) -> None:
        """Add the violation of one field."""
        self.found.append(FieldViolation(field, message))

    def name(self, field: str, value: str, kind: str, known: Iterable[str]) -> bool:
        """Check that `value` is one of `known`; if not, suggest the nearest.

        Returns:
            Whether it is.
        """
        names = tuple(known)
        if value in names:
            return True
        self._unknown += 1
        self.add(field, unknown(kind, value, names, suggest=self._unknown <= _SUGGESTIONS))
        return False

    def integer(self, field: str, value: int, least: int, most: int, kind: str) -> bool:
        """Check least <= value <= most. Returns whether it holds."""
        if least <= value <= most:
            return True
        self.add(field, f"{kind} must lie in {least} .. {most:,}, not {value}")
        return False

    def too_long(self, field: str, values: Sequence[object], most: int) -> bool:
        """Refuse a list of more than `most` values without looking at them. Returns whether it is refused."""
        if len(values) <= most:
            return False
        self.add(field, f"has {len(values):,} values but one experiment may have {most:,} runs")
        return True

    def axis(
        self, field: str, values: Sequence[T], kind: str, check: Callable[[str, T], bool], most: int
    ) -> list[T]:
        """Check an axis of the grid: not empty, not too long, no value twice, every value valid.

        Args:
            field: Path of the list.
            values: Its entries.
            kind: Kind of the values, in the singular.
            check: Adds the problems of one entry at a path; returns whether the entry is valid.
            most: Maximum number of values.

        Returns:
            The distinct valid values.
        """
        if not values:
            self.add(field, f"is empty; give at least one {kind}")
        if self.too_long(field, values, most):
            return []
        first_at: dict[T, int] = {}
        valid = []
        for i, value in enumerate(values):
            path = f"{field}[{i}]"
            if value in first_at:
                self.add(path, f"{shown(value)} is there twice (also at [{first_at[value]}]); remove one")
                continue
            first_at[value] = i
            if check(path, value):
                valid.append(value)
        return valid


def unknown(kind: str, value: str, names: Sequence[str], *, suggest: bool = True) -> str:
    """The message for an unknown name; with `suggest` it has the nearest and all known names.

    >>> unknown("dataset", "minst", ("digits", "mnist"))
    "unknown dataset 'minst'; did you mean 'mnist'? There are: digits, mnist"
    """
    if not value:
        return f"is empty; name a {kind}: {', '.join(names)}"
    if not suggest:
        return f"unknown {kind} {shown(value)}"
    close = nearest(value.lower(), names)
    hint = f"did you mean {close!r}? There are: " if close else "there are: "
    return f"unknown {kind} {shown(value)}; {hint}{', '.join(names)}"


def shown(value: object) -> str:
    """A value as text of bounded length, for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def human_bytes(count: float) -> str:
    """A number of bytes for people.

    >>> human_bytes(3 * 2**30)
    '3.0 GiB'
    """
    units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(max(int(math.log2(max(count, 1))) // 10, 0), len(units) - 1)
    scaled = count / 1024**power
    return f"{scaled:.1f} {units[power]}" if power else f"{scaled:.0f} {units[0]}"
