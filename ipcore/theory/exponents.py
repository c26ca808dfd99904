"""Exact exponents: text to `Fraction` and back."""

from __future__ import annotations

import re
from fractions import Fraction

from ipcore.theory.errors import TheoryError

_EXPONENT = re.compile(r"[+-]?(\d{1,9}(/\d{1,9})?|\d{1,9}\.\d{1,9})")


def parse_exponent(text: str, field: str = "") -> Fraction:
    """Read an exponent exactly.

    Args:
        text: An integer "-2", a fraction "-5/2" or a decimal "0.5" (taken as the exact 1/2).
        field: Where the text stands, for the error.

    Raises:
        TheoryError: The text is none of these, or its denominator is 0.

    >>> parse_exponent("-5/2"), parse_exponent("0.25")
    (Fraction(-5, 2), Fraction(1, 4))
    """
    stripped = text.strip()
    if not _EXPONENT.fullmatch(stripped):
        raise TheoryError(
            f"{text!r} is not an exponent; write an integer, a fraction or a decimal: '1', '-5/2', '0.5'",
            field,
        )
    try:
        return Fraction(stripped)
    except ZeroDivisionError:
        raise TheoryError(f"{text!r} has denominator 0", field) from None


def format_exponent(value: Fraction) -> str:
    """Write an exponent as `parse_exponent` reads it: "0", "-5/2"."""
    return str(value)
