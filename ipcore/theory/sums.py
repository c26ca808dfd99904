"""Sums of powers of the width, and the slope of such a sum where no power dominates yet.

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
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.exponents import check_exact
from ipcore.theory.quantities import instance, instances, number, numbers

_LARGEST_LOG: Final = math.log(sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Power:
    """A size proportional to m^exponent, measured at one width.

    Attributes:
        exponent: e.
        size: At `width`, >= 0.
        width: m > 0.

    Raises:
        TheoryError: An exponent that is not exact, a size or a width out of range.

    >>> round(Power(Fraction(-1, 2), size=3.0, width=100).at(400), 12)
    1.5
    """

    exponent: Fraction
    size: float
    width: float = 1.0

    def __post_init__(self) -> None:
        findings = Findings()
        with findings.noted():
            _check_exponent(self.exponent)
        with findings.noted():
            number(self.size, "size")
        with findings.noted():
            number(self.width, "width", positive=True)
        findings.check()

    def at(self, width: float) -> float:
        """The size at another width > 0; infinite where a double cannot hold it.

        Raises:
            TheoryError: No such width.
        """
        log = self.log_at(width)
        return math.exp(log) if log < _LARGEST_LOG else math.inf

    def log_at(self, width: float) -> float:
        """The natural logarithm of the size at another width > 0; -inf for size 0.

        Raises:
            TheoryError: No such width.
        """
        ratio = math.log(number(width, "width", positive=True)) - math.log(self.width)
        return math.log(self.size) + ratio * float(self.exponent) if self.size else -math.inf


def _check_exponent(exponent: Fraction) -> None:
    """Derived exponents may be longer than those that are read."""
    check_exact(exponent, "exponent")
    try:
        float(exponent)
    except OverflowError:
        raise TheoryError(f"is too large for any size: {shown(exponent)}", "exponent") from None


def crossover(first: Power, second: Power) -> float | None:
    """The width at which two sizes are equal; None if they have the same exponent or one is 0.

    Beyond it the one with the larger exponent is larger. It is infinite where a double cannot hold it.

    Raises:
        TheoryError: No `Power`.

    >>> round(crossover(Power(Fraction(0), 1.0), Power(Fraction(-1, 2), 28.88)))
    834
    """
    instance(first, Power, "first")
    instance(second, Power, "second")
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
    """The size of a sum of independent parts at a width; infinite where a double cannot hold it.

    Raises:
        TheoryError: No list of `Power`, no width.

    >>> round(sum_at([Power(Fraction(0), 3.0), Power(Fraction(-1, 2), 8.0)], width=4), 12)
    5.0
    """
    number(width, "width", positive=True)
    return math.hypot(*(power.at(width) for power in instances(powers, Power, "powers")))


def local_slope(powers: Sequence[Power], width: float) -> float:
    """The slope of log size against log width at a width.

    Raises:
        TheoryError: No list of `Power`, no width; no part, or all are 0.

    >>> round(local_slope([Power(Fraction(0), 3.0), Power(Fraction(-1, 2), 6.0)], width=4), 12)  # both are 3
    -0.25
    """
    number(width, "width", positive=True)
    parts = instances(powers, Power, "powers")
    logs = [power.log_at(width) for power in parts]
    largest = max(logs, default=-math.inf)
    if largest == -math.inf:
        raise TheoryError("a slope needs a part that is not 0", "powers")
    weights = [math.exp(2 * (log - largest)) for log in logs]
    weighted = sum(w * float(p.exponent) for w, p in zip(weights, parts, strict=True))
    return weighted / sum(weights)


def fitted_slope(sizes: Sequence[float], widths: Sequence[float]) -> float:
    """The slope of the least-squares line through log size against log width.

    Raises:
        TheoryError: No lists of numbers, fewer than two different widths, or sizes that are not positive.

    >>> fitted_slope([4.0, 2.0, 1.0], [64, 128, 256])
    -1.0
    """
    findings, m, found = Findings(), tuple[float, ...](), tuple[float, ...]()
    with findings.noted():
        found = numbers(sizes, "sizes", positive=True)
    with findings.noted():
        m = numbers(widths, "widths", positive=True)
    findings.check()
    if len(set(m)) < 2 or len(found) != len(m):
        raise TheoryError("a slope needs two different widths and one size for each", "widths")
    x, y = [math.log2(width) for width in m], [math.log2(size) for size in found]
    centre = math.fsum(x) / len(x)
    spread = math.fsum((value - centre) ** 2 for value in x)
    return math.fsum((value - centre) * log for value, log in zip(x, y, strict=True)) / spread
