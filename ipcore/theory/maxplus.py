"""Sizes as powers of the width: products add exponents, sums keep the largest."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Final, cast

from ipcore.theory.exponents import Unknown, here

_ONE_ITSELF: Final = Fraction(0)  # m^0
Size = Fraction | None
"""Exponent e of a quantity of order m^e; None: exactly zero."""


def times(*factors: Size) -> Size:
    """Exponent of a product; zero if a factor is zero.

    >>> times(Fraction(1, 2), Fraction(-2))
    Fraction(-3, 2)
    """
    total: Size = None
    for factor in factors:
        if factor is None:
            return None
        if not total:
            total = factor
        elif factor:  # most exponents are 0, and sums of fractions are slow
            total = total + factor
    return total


def largest(*terms: Size) -> Size:
    """Exponent of a sum of terms that do not cancel.

    >>> largest(None, Fraction(-1), Fraction(0))
    Fraction(0, 1)
    """
    result: Size = None
    for term in cast("tuple[Any, ...]", terms):
        if isinstance(term, Unknown):
            return _largest_unknown(terms)
        if term is not None and (result is None or term > result):
            result = term
    return result


def _largest_unknown(terms: Iterable[Size]) -> Size:
    known = [term for term in terms if term is not None]
    # The largest here comes first, so that no two smaller terms are compared.
    known.insert(0, known.pop(max(range(len(known)), key=lambda i: here(known[i]))))
    result = known[0]
    for term in known[1:]:
        result = max(result, term)
    return result


def smaller(left: Size, right: Size) -> Size:
    """The smaller of two exponents; zero (None) is the smallest."""
    return None if left is None or right is None else min(left, right)


def inverse(size: Size) -> Size:
    """Exponent of 1 over a quantity; 1 over zero does not occur in sums, so zero stays zero."""
    return None if size is None else -size


def nonzero(size: Size) -> Fraction:
    """The exponent of a quantity that cannot be zero, such as an initial preactivation.

    Raises:
        ArithmeticError: It is.
    """
    if size is None:
        raise ArithmeticError("a quantity that cannot be zero has no exponent")
    return size


def at_least(size: Size, bound: Fraction) -> bool:
    """Whether a size is m^bound or more."""
    return size is not None and size >= bound


def above(size: Size, bound: Fraction) -> bool:
    """Whether a size is more than m^bound."""
    return size is not None and size > bound


def grows(size: Size) -> bool:
    """Whether a size grows with the width: `above` 0.

    >>> grows(Fraction(1, 2)), grows(Fraction(0)), grows(None)
    (True, False, False)
    """
    known: Any = size
    if known is None:
        return False
    if isinstance(known, Unknown):
        return above(size, _ONE_ITSELF)
    return bool(known.numerator > 0)  # comparing fractions is slow
