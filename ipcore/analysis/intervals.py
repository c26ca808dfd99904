"""Estimates with their intervals: Student's t with the degrees of freedom of the contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ipcore.analysis.welch import Contrast

ERROR_RATE: Final = 0.05
"""Error probability of an interval (both sides), and of all verdicts on one subject together."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval over seeds.

    Attributes:
        value: From all seeds.
        low: Lower end; -inf with one seed.
        high: Upper end; inf with one seed.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, contrast: Contrast) -> Estimate:
        """With the two-sided interval of one number.

        >>> print(Estimate.of(Contrast(1.0, 0.1, 9.0)))
        1.00 [0.77, 1.23]
        """
        return cls(contrast.value, *contrast.bounds(ERROR_RATE / 2))

    def __str__(self) -> str:
        # Not "-0.00".
        value, low, high = (f"{round(number, 2) + 0.0:.2f}" for number in (self.value, self.low, self.high))
        return f"{value} [no interval from one seed]" if math.isinf(self.low) else f"{value} [{low}, {high}]"


def error_of_bound(numbers: int) -> float:
    """Error probability allowed to one bound if this many numbers are judged together (Bonferroni).

    >>> error_of_bound(1), error_of_bound(10)
    (0.025, 0.0025)
    """
    return ERROR_RATE / 2 / max(numbers, 1)
