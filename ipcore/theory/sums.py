"""Sums of powers of the width, and the slope that such a sum has where no power leads yet.

A size is often the sum of parts that follow different powers. Independent parts add like the sides of right
triangles (rule ours):

    size^2 = sum_i A_i^2 m^{2 e_i},    d log size / d log m = sum_i w_i e_i,    w_i: part i's share of size^2

The latter is the *local slope*. For two parts with e_1 > e_2 it is e_1 - (e_1 - e_2) R / (1 + R) with
R = (A_2 / A_1)^2 m^{2 (e_2 - e_1)}: half-way where both are equal, at the *crossover*
m* = (A_2 / A_1)^{1 / (e_1 - e_2)}, and e_1 only far beyond. Exponents come from theory, constants from one
width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ipcore.theory.errors import TheoryError


@dataclass(frozen=True, slots=True)
class Power:
    """A size that goes like m^exponent and was measured at one width.

    Attributes:
        exponent: e.
        size: At `width`, >= 0.
        width: m > 0.

    Raises:
        TheoryError: A size or width out of range.

    >>> Power(Fraction(-1, 2), size=3.0, width=100).at(400)
    1.5
    """

    exponent: Fraction
    size: float
    width: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.size) and self.size >= 0):
            raise TheoryError(f"must be a finite number of at least 0, not {self.size!r}", "size")
        if not (math.isfinite(self.width) and self.width > 0):
            raise TheoryError(f"must be a finite number above 0, not {self.width!r}", "width")

    def at(self, width: float) -> float:
        """The size at another width."""
        return self.size * math.pow(width / self.width, float(self.exponent))


def crossover(first: Power, second: Power) -> float | None:
    """The width at which two sizes are equal; None if they have the same exponent or one is 0.

    Beyond it the one with the larger exponent is larger. It is infinite where a double cannot hold it.

    >>> round(crossover(Power(Fraction(0), 1.0), Power(Fraction(-1, 2), 28.88)))
    834
    """
    apart = first.exponent - second.exponent
    if apart == 0 or first.size == 0 or second.size == 0:
        return None
    ratio = math.log(second.size) - math.log(first.size)  # at the width of each
    scales = float(first.exponent) * math.log(first.width) - float(second.exponent) * math.log(second.width)
    try:
        return math.exp((ratio + scales) / float(apart))
    except OverflowError:
        return math.inf


def sum_at(powers: Sequence[Power], width: float) -> float:
    """The size of a sum of independent parts at a width.

    >>> sum_at([Power(Fraction(0), 3.0), Power(Fraction(-1, 2), 8.0)], width=4)
    5.0
    """
    return math.hypot(*(power.at(width) for power in powers))


def local_slope(powers: Sequence[Power], width: float) -> float:
    """The slope of log size against log width at a width.

    Raises:
        TheoryError: No part, or all are 0.

    >>> local_slope([Power(Fraction(0), 3.0), Power(Fraction(-1, 2), 6.0)], width=4)  # both are 3
    -0.25
    """
    sizes = [power.at(width) for power in powers]
    largest = max(sizes, default=0.0)
    if largest == 0:
        raise TheoryError("a slope needs a part that is not 0", "powers")
    weights = [(size / largest) ** 2 for size in sizes]
    weighted = sum(w * float(p.exponent) for w, p in zip(weights, powers, strict=True))
    return weighted / sum(weights)


def fitted_slope(sizes: Sequence[float], widths: Sequence[float]) -> float:
    """The slope of the least-squares line through log size against log width.

    Raises:
        TheoryError: Fewer than two different widths, or sizes that are not positive.

    >>> fitted_slope([4.0, 2.0, 1.0], [64, 128, 256])
    -1.0
    """
    if len(set(widths)) < 2 or len(sizes) != len(widths):
        raise TheoryError("a slope needs two different widths and one size for each", "widths")
    if not all(size > 0 and math.isfinite(size) for size in sizes):
        raise TheoryError("a slope of logarithms needs finite sizes above 0", "sizes")
    x, y = [math.log2(m) for m in widths], [math.log2(size) for size in sizes]
    centre = math.fsum(x) / len(x)
    spread = math.fsum((value - centre) ** 2 for value in x)
    return math.fsum((value - centre) * log for value, log in zip(x, y, strict=True)) / spread
