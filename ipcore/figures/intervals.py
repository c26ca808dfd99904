"""Means over seeds with Student's 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

# 97.5 % quantiles of Student's t with 1 .. 10 degrees of freedom.
_STUDENT: Final = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
NORMAL: Final = 1.959964  # the same of the normal distribution
# The interval of two values reaches 13 standard errors to each side: its band would cover the whole panel.
FEWEST_IN_BAND: Final = 4


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its 95 % interval; None where there is no interval (one value)."""

    value: float
    low: float | None
    high: float | None
    count: int

    @property
    def band(self) -> tuple[float | None, float | None]:
        """Ends of the interval where a picture shows it as a band: from `FEWEST_IN_BAND` values on."""
        return (self.low, self.high) if self.count >= FEWEST_IN_BAND else (None, None)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with so many degrees of freedom, at least 1.

    >>> round(student(1), 2), round(student(30), 2), round(student(10**6), 2)
    (12.71, 2.04, 1.96)
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    # Cornish-Fisher; off by less than 0.003 from 10 degrees of freedom on.
    return NORMAL + 2.3723 / freedom + 2.8225 / freedom**2


def mean(values: Sequence[float], *, geometric: bool = False) -> Mean:
    """The mean of at least one value.

    Args:
        values: Finite; > 0 for a geometric mean.
        geometric: Whether it is the mean of the logarithms.

    >>> mean([1.0, 4.0], geometric=True).value
    2.0
    """
    numbers = np.log(values) if geometric else np.array(values, np.float64)
    middle, half = float(numbers.mean()), None
    if len(numbers) > 1:
        half = student(len(numbers) - 1) * float(numbers.std(ddof=1)) / math.sqrt(len(numbers))

    def back(number: float) -> float:
        return math.exp(min(number, 709.0)) if geometric else number

    if half is None:
        return Mean(back(middle), None, None, len(numbers))
    return Mean(back(middle), back(middle - half), back(middle + half), len(numbers))
