"""Numbers that depend on two free exponents, and a record of the comparisons that were made with them.

A calculation that adds, multiplies by constants and compares gives the same result at every point of the
plane at which all comparisons come out the same. `Affine` represents c + p x + q y in such a calculation. It
is compared at one point, and its `Record` keeps each question "is g > 0?" with the answer. So one calculation
at one point proves its result for a whole convex set: the points with the same answers.

All numbers are exact integers: a form is (c, p, q) up to a positive factor, a point is (x, y) as (X, Y, W)
with x = X/W, y = Y/W, W > 0.

>>> record = Record(point(Fraction(1), Fraction(1, 2)))
>>> x, y = record.free()
>>> max(x - y, Fraction(0)) is not None, record.answers
(True, {(0, -1, 1): False})
"""

from __future__ import annotations

from fractions import Fraction
from math import gcd, lcm
from typing import TypeGuard

from ipcore.theory.exponents import Unknown

Form = tuple[int, int, int]
"""(c, p, q) of c + p x + q y, without common factors."""
Point = tuple[int, int, int]
"""(X, Y, W), W > 0: the point (X/W, Y/W), without common factors."""


def point(x: Fraction, y: Fraction) -> Point:
    """A point from its coordinates."""
    W = lcm(x.denominator, y.denominator)
    return x.numerator * (W // x.denominator), y.numerator * (W // y.denominator), W


def coordinates(at: Point) -> tuple[Fraction, Fraction]:
    """The coordinates (x, y) of a point."""
    return Fraction(at[0], at[2]), Fraction(at[1], at[2])


def reduced(triple: tuple[int, int, int]) -> tuple[int, int, int]:
    """A form or a point without common factors."""
    factor = gcd(*triple)
    return triple if factor <= 1 else (triple[0] // factor, triple[1] // factor, triple[2] // factor)


def value(form: Form, at: Point) -> int:
    """W times the form's value at a point: an integer with the same sign."""
    return form[0] * at[2] + form[1] * at[0] + form[2] * at[1]


class Record:
    """The comparisons of one calculation.

    Args:
        at: The point at which comparisons are made.

    Attributes:
        answers: Form g to whether g > 0, in the order of the questions.
        work: Additions and comparisons so far.
    """

    def __init__(self, at: Point) -> None:
        self.at = at
        self.answers: dict[Form, bool] = {}
        self.work = 0

    def free(self) -> tuple[Affine, Affine]:
        """The free exponents x and y as numbers."""
        return Affine(self, (0, 1, 0), 1), Affine(self, (0, 0, 1), 1)

    def positive(self, form: Form) -> bool:
        """Whether a form is > 0 at the point."""
        found = self.answers.get(form)
        if found is None:
            found = self.answers[form] = value(form, self.at) > 0
        return found


class Affine(Unknown):
    """A number c + p x + q y with p or q not 0, in the place of a `Fraction`.

    It adds, subtracts, multiplies and divides by constants, and compares. All else (a hash, a numerator)
    raises, since the record cannot follow it.
    """

    __hash__ = None  # type: ignore[assignment] # of a number that depends on the point
    __slots__ = ("form", "over", "record")

    def __init__(self, record: Record, form: tuple[int, int, int], denominator: int) -> None:
        self.record, self.form, self.over = record, form, denominator

    def __repr__(self) -> str:
        c, p, q = self.form
        return f"({c} + {p} x + {q} y) / {self.over}"

    def length(self) -> int:
        """Bits of its longest coefficient."""
        return max(abs(part) for part in (*self.form, self.over)).bit_length()

    def here(self) -> Fraction:
        """Its value at the point of its record."""
        return Fraction(value(self.form, self.record.at), self.record.at[2] * self.over)

    def __add__(self, other: object) -> Affine | Fraction:
        return self._plus(other, 1) if _is_number(other) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: object) -> Affine | Fraction:
        return self._plus(other, -1) if _is_number(other) else NotImplemented

    def __rsub__(self, other: object) -> Affine | Fraction:
        return (-self)._plus(other, 1) if _is_number(other) else NotImplemented

    def __neg__(self) -> Affine:
        c, p, q = self.form
        return Affine(self.record, (-c, -p, -q), self.over)

    def __mul__(self, other: object) -> Affine | Fraction:
        if not isinstance(other, (int, Fraction)):
            return NotImplemented
        if other == 0:
            return Fraction(0)
        (c, p, q), n = self.form, other.numerator
        factor = gcd(c * n, p * n, q * n, self.over * other.denominator)
        form = c * n // factor, p * n // factor, q * n // factor
        return Affine(self.record, form, self.over * other.denominator // factor)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Affine | Fraction:
        return self * (1 / Fraction(other)) if isinstance(other, (int, Fraction)) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._exceeds(other) if _is_number(other) else NotImplemented

    def __le__(self, other: object) -> bool:
        return not self._exceeds(other) if _is_number(other) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return (-self)._exceeds(-other) if _is_number(other) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return not (-self)._exceeds(-other) if _is_number(other) else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not _is_number(other):
            return NotImplemented
        return not self._exceeds(other) and not (-self)._exceeds(-other)

    def _exceeds(self, other: Affine | Fraction | int) -> bool:
        difference = self._plus(other, -1)
        if isinstance(difference, Fraction):
            return difference > 0
        return self.record.positive(reduced(difference.form))

    def _plus(self, other: Affine | Fraction | int, sign: int) -> Affine | Fraction:
        self.record.work += 1
        c, p, q = self.form
        if isinstance(other, Affine):
            (c2, p2, q2), of_other = other.form, other.over
        else:
            c2, p2, q2, of_other = other.numerator, 0, 0, other.denominator
        common = self.over
        if common != of_other:
            common = lcm(common, of_other)
            mine, yours = common // self.over, sign * (common // of_other)
        else:
            mine, yours = 1, sign
        p, q = mine * p + yours * p2, mine * q + yours * q2
        c = mine * c + yours * c2
        return Affine(self.record, (c, p, q), common) if p or q else Fraction(c, common)


def _is_number(other: object) -> TypeGuard[Affine | Fraction | int]:
    return isinstance(other, (Affine, Fraction, int))
