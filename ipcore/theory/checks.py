"""Checks of the parts of parameterizations: depths, steps, rows of exponents."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.exponents import each, exact, read_row, sequence

MAX_HIDDEN_LAYERS: Final = 10_000
MAX_STEP: Final = 10**12  # at which a phase may start


def check_depth(hidden_layers: int) -> None:
    """Refuse depths that are not an integer in 1 .. `MAX_HIDDEN_LAYERS`.

    Raises:
        TheoryError: `field` is "hidden_layers".
    """
    check_integer(hidden_layers, "hidden_layers")
    if hidden_layers < 1:
        raise TheoryError(f"must be at least 1, not {shown(hidden_layers)}", "hidden_layers")
    if hidden_layers > MAX_HIDDEN_LAYERS:
        raise TheoryError(f"must be at most {MAX_HIDDEN_LAYERS}, not {shown(hidden_layers)}", "hidden_layers")


def check_start(start: int, least: int, field: str) -> None:
    """Refuse values that are not a step at which a phase can start.

    Raises:
        TheoryError: No integer, or outside `least` .. `MAX_STEP`.
    """
    check_integer(start, field)
    if not least <= start <= MAX_STEP:
        raise TheoryError(f"must be a step from {least} to {MAX_STEP:,}, not {shown(start)}", field)


def check_integer(value: object, field: str) -> None:
    """Refuse values that are not integers: floats, even whole ones, booleans, text.

    Raises:
        TheoryError: With the value.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TheoryError(f"must be an integer, not {shown(value)}", field)


def expand_layers(
    entries: Sequence[str | Fraction | int], hidden_layers: int, field: str
) -> tuple[Fraction, ...]:
    """One exponent per layer from three (first, hidden, last) or from L+1.

    Raises:
        TheoryError: Not a list, of neither length, or entries that are not exponents, all of which are named.

    >>> expand_layers(["0", "1/2", "1"], hidden_layers=3, field="a")
    (Fraction(0, 1), Fraction(1, 2), Fraction(1, 2), Fraction(1, 1))
    """
    values = read_row(entries, field)
    if len(values) == hidden_layers + 1:
        return values
    if len(values) == 3:
        first, hidden, last = values
        return (first, *[hidden] * (hidden_layers - 1), last)
    short = " or 3 (first, hidden, last)" if hidden_layers != 2 else ""  # there they are the same
    raise TheoryError(
        f"has {len(values)} entries; with {hidden_layers} hidden layers it needs {hidden_layers + 1} "
        f"(one per layer){short}",
        field,
    )


def exact_row(row: Any, field: str, *, optional: bool = False) -> tuple[Any, ...]:
    """A tuple of Fractions (with `optional` also None) from exact numbers.

    Raises:
        TheoryError: No list, or entries that are not exact; all of them are named.
    """
    return each(row, _exact_or_none if optional else exact, field)


def _exact_or_none(entry: Any, field: str) -> Fraction | None:
    return None if entry is None else exact(entry, field)


def values_of(entries: Any, kind: type, field: str) -> tuple[Any, ...]:
    """A tuple of values of one class.

    Raises:
        TheoryError: No list, or values of other kinds; all of them are named.
    """
    findings = Findings()
    for i, entry in enumerate(sequence(entries, field)):
        with findings.noted():
            if not isinstance(entry, kind):
                raise TheoryError(f"must be a {kind.__name__}, not {shown(entry)}", f"{field}[{i}]")
    findings.check()
    return tuple(entries)
