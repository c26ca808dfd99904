"""Exact exponents: text to `Fraction` and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, TypeVar, cast

from ipcore.theory.errors import Findings, TheoryError, shown

Value = TypeVar("Value")
_EXPONENT = re.compile(r"[+-]?(\d{1,9}(/\d{1,9})?|\d{1,9}\.\d{1,9})", re.ASCII)
MAX_DIGITS = 30
_TOO_LONG = 10**MAX_DIGITS
_SIMPLE_DENOMINATOR = 12
_SHORT_BITS = 128


def parse_exponent(text: str, field: str = "") -> Fraction:
    """Read an exponent exactly.

    Args:
        text: An integer "-2", a fraction "-5/2" or a decimal "0.5" (taken as the exact 1/2).
        field: Field of the text, for the error.

    Raises:
        TheoryError: The text is none of these, or its denominator is 0.

    >>> parse_exponent("-5/2"), parse_exponent("0.25")
    (Fraction(-5, 2), Fraction(1, 4))
    """
    stripped = text.strip() if isinstance(text, str) else ""
    if not _EXPONENT.fullmatch(stripped):
        raise TheoryError(
            f"{shown(text)} is not an exponent; write an integer, a fraction or a decimal of at most 9 "
            "digits each: '1', '-5/2', '0.5'",
            field,
        )
    try:
        return Fraction(stripped)
    except ZeroDivisionError:
        raise TheoryError(f"{text!r} has denominator 0", field) from None


def as_exponent(value: str | Fraction | int, field: str = "") -> Fraction:
    """An exponent from text or from an exact number.

    Raises:
        TheoryError: As `parse_exponent`; else as `exact`.

    >>> as_exponent(-2), as_exponent("1/2")
    (Fraction(-2, 1), Fraction(1, 2))
    """
    if isinstance(value, str):
        return parse_exponent(value, field)
    return exact(value, field)


class Unknown:
    """Base of unknown exponents, whose values are left open (`ipcore.theory.plane`)."""

    __slots__ = ()

    def length(self) -> int:
        """Bits of its longest coefficient."""
        raise NotImplementedError

    def here(self) -> Fraction:
        """Its value at the point of comparisons; reading it does not count as a comparison."""
        raise NotImplementedError


def here(exponent: Fraction) -> Fraction:
    """The exponent; of one that is left open the value at the point of interest.

    It may be used to choose the next comparison, which keeps their number small; conclusions must follow from
    comparisons alone.
    """
    return exponent.here() if isinstance(exponent, Unknown) else exponent


def open_ended(exponents: Iterable[Fraction]) -> bool:
    """Whether the value of some exponent is left open."""
    return any(isinstance(exponent, Unknown) for exponent in exponents)


def length(exponent: Fraction) -> int:
    """Bits of the longer of numerator and denominator.

    >>> length(Fraction(-9, 2))
    4
    """
    if isinstance(exponent, Unknown):
        return exponent.length()
    return max(exponent.numerator.bit_length(), exponent.denominator.bit_length())


def check_exact(value: object, field: str = "") -> None:
    """Refuse values that are not exact numbers, whatever their length.

    Raises:
        TheoryError: A float, which cannot say which rational is meant, or anything else that is no Fraction
            or integer.
    """
    if isinstance(value, Fraction):  # nearly always
        return
    if isinstance(value, bool) or not isinstance(value, (int, Unknown)):
        raise TheoryError(
            f"{shown(value)} is a {type(value).__name__}; exponents are exact: write text such as '1/2' or a "
            "Fraction",
            field,
        )


def exact(value: Fraction | int, field: str = "") -> Fraction:
    """An exact number as an exponent.

    Raises:
        TheoryError: A float, which cannot say which rational is meant, anything else that is no Fraction or
            integer, or one of more than `MAX_DIGITS` digits.
    """
    check_exact(value, field)
    if isinstance(value, Unknown):
        return cast(Fraction, value)
    if max(abs(value.numerator), value.denominator) >= _TOO_LONG:
        raise TheoryError(f"has more than {MAX_DIGITS} digits: {shown(value)}", field)
    return value if isinstance(value, Fraction) else Fraction(value)


def sequence(entries: object, field: str) -> Sequence[Any]:
    """Refuse values that are not a list or tuple: text (a sequence of characters), numbers, None.

    Raises:
        TheoryError: With the value.
    """
    if isinstance(entries, (str, bytes)) or not isinstance(entries, Sequence):
        raise TheoryError(f"must be a list or a tuple, not {shown(entries)}", field)
    return entries


def read_row(entries: Sequence[str | Fraction | int], field: str) -> tuple[Fraction, ...]:
    """Exponents from a list of texts or exact numbers.

    Raises:
        TheoryError: Not a list, or entries that are not exponents; all are named, "a[1]".

    >>> read_row(["0", 1, "1/2"], "a")
    (Fraction(0, 1), Fraction(1, 1), Fraction(1, 2))
    """
    return each(entries, as_exponent, field)


def each(entries: object, read: Callable[[Any, str], Value], field: str) -> tuple[Value, ...]:
    """What `read(entry, name)` gives for each entry of a list.

    Raises:
        TheoryError: Not a list, or entries that `read` refuses; all are named, "a[1]".
    """
    found = sequence(entries, field)
    try:
        return tuple([read(entry, field) for entry in found])  # without names, which take time
    except TheoryError:
        findings = Findings()
        for i, entry in enumerate(found):
            with findings.noted():
                read(entry, f"{field}[{i}]")
        findings.check()
        raise


def decimal_note(text: str) -> str | None:
    """A note on a decimal that looks like a rounded fraction.

    Args:
        text: Anything that `parse_exponent` reads.

    Returns:
        A sentence if the exact decimal is not a simple fraction; else None.

    >>> decimal_note("0.333")
    "'0.333' is taken as exactly 333/1000; write '1/3' if that is meant"
    >>> decimal_note("0.25") is None
    True
    """
    if not isinstance(text, str) or "." not in text:
        return None
    value = parse_exponent(text)
    near = value.limit_denominator(_SIMPLE_DENOMINATOR)
    if near == value:
        return None
    return f"{text!r} is taken as exactly {value}; write '{near}' if that is meant"


def decimal_notes(*lists: Iterable[str | Fraction | int]) -> tuple[str, ...]:
    """`decimal_note` of every text in some lists of exponents that `parse_exponent` reads, each once.

    >>> decimal_notes(["0.5", "0.333"], [1, "0.333"])
    ("'0.333' is taken as exactly 333/1000; write '1/3' if that is meant",)
    """
    texts = (entry for entries in lists for entry in entries if isinstance(entry, str))
    notes = (decimal_note(text.strip()) for text in texts)
    return tuple(dict.fromkeys(note for note in notes if note is not None))


def format_exponent(value: Fraction) -> str:
    """Write an exponent as `parse_exponent` reads it: "0", "-5/2".

    Raises:
        TheoryError: It is not exact, or has more digits than Python writes.
    """
    check_exact(value)
    try:
        return str(value)
    except ValueError:
        raise TheoryError(f"{shown(value)} cannot be written") from None


def brief(exponent: Fraction | None) -> str:
    """An exponent for sentences: exact if that is short, else its first digits; "0" for exactly zero (None).

    >>> brief(Fraction(-5, 2)), brief(-3 * Fraction(10) ** 80)
    ('-5/2', '-3.00e80')
    """
    if exponent is None:
        return "0"
    if max(exponent.numerator.bit_length(), exponent.denominator.bit_length()) <= _SHORT_BITS:
        return str(exponent)
    whole = abs(exponent.numerator) // exponent.denominator
    if whole < 1_000:
        return f"{float(exponent):.3g}"
    digits = str(whole)
    return f"{'-' if exponent < 0 else ''}{digits[0]}.{digits[1:3]}e{len(digits) - 1}"


def power(exponent: Fraction | None, symbol: str = "m") -> str:
    """A power of the width for people: "m^(-1/2)", "1" for exponent 0, "0" for exactly zero (None).

    >>> power(Fraction(-1, 2)), power(Fraction(0)), power(Fraction(2))
    ('m^(-1/2)', '1', 'm^2')
    """
    if exponent is None:
        return "0"
    if exponent == 0:
        return "1"
    if exponent == 1:
        return symbol
    plain = exponent.denominator == 1 and exponent > 0
    return f"{symbol}^{brief(exponent)}" if plain else f"{symbol}^({brief(exponent)})"
