"""Checks of measured numbers and of arguments' types."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sized
from numbers import Real
from typing import TypeVar

from ipcore.theory.errors import Findings, TheoryError, shown

T = TypeVar("T")


def number(value: object, field: str, *, positive: bool = False) -> float:
    """A measured number: finite and at least 0, or above 0.

    Raises:
        TheoryError: With the value.

    >>> number(3, "width", positive=True)
    3.0
    """
    least = "above 0" if positive else "of at least 0"
    try:
        found = float(value) if not isinstance(value, bool) and isinstance(value, Real) else math.nan
    except OverflowError:
        found = math.nan
    if not math.isfinite(found) or found < 0 or (positive and found == 0):
        raise TheoryError(f"must be a finite number {least}, not {shown(value)}", field)
    return found


def numbers(values: Iterable[object], field: str, *, positive: bool = False) -> tuple[float, ...]:
    """Measured numbers, as `number`; every wrong one is named, "sizes[2]".

    Raises:
        TheoryError: Not a list, or entries that are not such numbers.
    """
    findings, found = Findings(), []
    for i, value in enumerate(entries(values, field)):
        with findings.noted():
            found.append(number(value, f"{field}[{i}]", positive=positive))
    findings.check()
    return tuple(found)


def entries(values: Iterable[T], field: str) -> tuple[T, ...]:
    """The entries of a list, a tuple or an array.

    Raises:
        TheoryError: Text, a mapping, or what has no entries.
    """
    if isinstance(values, str | bytes | Mapping) or not (
        isinstance(values, Iterable) and isinstance(values, Sized)
    ):
        raise TheoryError(f"must be a list or a tuple, not {shown(values)}", field)
    return tuple(values)


def instance(value: object, kind: type[T], field: str) -> T:
    """A value of a class.

    Raises:
        TheoryError: It belongs to another class.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TheoryError(f"must be {article} {kind.__name__}, not {shown(value)}", field)
    return value


def mapping(value: object, field: str) -> Mapping[object, object]:
    """A mapping.

    Raises:
        TheoryError: It is none.
    """
    if not isinstance(value, Mapping):
        raise TheoryError(f"must be a mapping, not {shown(value)}", field)
    return value


def instances(values: Iterable[object], kind: type[T], field: str) -> tuple[T, ...]:
    """Values of a class; every wrong one is named, "powers[2]".

    Raises:
        TheoryError: No list, or entries of another class.
    """
    findings, found = Findings(), []
    for i, value in enumerate(entries(values, field)):
        with findings.noted():
            found.append(instance(value, kind, f"{field}[{i}]"))
    findings.check()
    return tuple(found)
