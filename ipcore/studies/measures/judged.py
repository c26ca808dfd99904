"""Verdict of a measure on a cell, and the values that it reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ipcore.analysis.welch import Contrast
from ipcore.studies.decision import Interval, Verdict

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """A cell at one look.

    Attributes:
        verdict: UNDECIDED: more seeds, or wider networks.
        interval: The number, with bounds that each err with a*.
        contrast: The estimate that has to become more certain.
        gap: Half the width of the interval at which it will be decided if the estimate stays as it is; <= 0:
            not by more seeds.
        wider_gap: The same for widths twice as large.
        unit: Unit of the number.
        why: Another reason why it is open; "".
        hopeless: More seeds and wider networks will not decide it.
        diverged: Because too many runs diverged before it was recorded.
        enough: The tolerance with which the present data would agree (without a prediction: be enough); None
            if it does not depend on a tolerance.
    """

    verdict: Verdict
    interval: Interval
    contrast: Contrast
    gap: float
    wider_gap: float
    unit: str = "slope"
    why: str = ""
    hopeless: bool = False
    diverged: bool = False
    enough: float | None = None

    @classmethod
    def nothing(cls, why: str = "", unit: str = "slope") -> Judged:
        """The verdict before there is anything to judge."""
        none = Contrast(math.nan, math.inf, 1.0)
        return cls(Verdict.UNDECIDED, Interval(), none, -math.inf, -math.inf, unit, why, hopeless=True)


Values = Callable[[int, int], Floats]
"""Values of so many seeds at a width, (width, seeds) -> [seeds]; NaN for runs without one."""


class Measure(Protocol):
    """The measure of a cell."""

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """The verdict at a look.

        Args:
            widths: m, ascending.
            counts: Seeds at each width.
            error: a*, of every bound.
        """
        ...


def finite(values: Values, widths: Sequence[int], counts: Sequence[int]) -> list[Floats] | str:
    """The values of each width without gaps; a sentence where fewer than two are left, or a size is 0."""
    found = []
    for width, count in zip(widths, counts, strict=True):
        sample = values(width, count)
        if np.isneginf(sample).any():
            return f"it is exactly 0 at width {width}, which has no slope"
        sample = sample[np.isfinite(sample)]
        if len(sample) < 2:
            return f"less than two runs at width {width} have a value"
        found.append(sample)
    return found
