"""Means: of a number at one width, of a vector that approaches its limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipcore.analysis.welch import Contrast, contrast, student
from ipcore.studies.decision import Interval, Verdict
from ipcore.studies.measures.judged import Floats, Judged, Values, finite


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean at one width: against a bound (agrees: U < below; disagrees: L > below), or measured to +- tau.

    Attributes:
        values: The number itself.
        width: m, one of the study's first widths.
        below: It should be below this; None: it is only measured, to tau.
        tolerance: tau.
        unit: Unit of the number.
    """

    values: Values
    width: int
    below: float | None
    tolerance: float
    unit: str = "distance"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        samples = finite(self.values, (self.width,), (counts[list(widths).index(self.width)],))
        if isinstance(samples, str):
            return Judged.nothing(samples, self.unit)
        return below_or_within(contrast((1.0,), samples), self.below, self.tolerance, error, self.unit)


def below_or_within(
    mean: Contrast, below: float | None, tolerance: float, error: float, unit: str = "distance"
) -> Judged:
    """The rule of `Mean`."""
    low, high = mean.bounds(error)
    interval = Interval(mean.value, low, high)
    if below is None:
        decided = high - low < 2 * tolerance
        verdict = Verdict.NO_PREDICTION if decided else Verdict.UNDECIDED
        return Judged(verdict, interval, mean, tolerance, tolerance, unit, enough=(high - low) / 2)
    verdict = Verdict.AGREES if high < below else Verdict.DISAGREES if low > below else Verdict.UNDECIDED
    gap = abs(mean.value - below)
    return Judged(verdict, interval, mean, gap, gap, unit, enough=high)


@dataclass(frozen=True, slots=True)
class Remainder:
    """Distance of a vector's mean from its limit: 2.42 rms|mean q_2m - mean q_m| at the largest widths.

    With q_m = q + A m^(-1/2) the distance of q_2m from q is 1/(sqrt 2 - 1) times that from q_m (2.42 leaves
    room for the next order). The upper bound adds t rms(se): by the triangle inequality it holds whatever the
    correlation of the entries, each of which has two sides.

    Attributes:
        vectors: (width, seeds) -> [seeds, entries].
        width: The larger one; the other is half of it.
        below: epsilon.
    """

    vectors: Values
    width: int
    below: float

    FACTOR: ClassVar[float] = 2.42

    unit: ClassVar[str] = "distance"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        samples = []
        for width in (self.width // 2, self.width):
            found = self.vectors(width, counts[list(widths).index(width)])
            found = found[np.isfinite(found).all(axis=1)]
            if len(found) < 2:
                return Judged.nothing(f"less than two runs at width {width} have a value", self.unit)
            samples.append(found)
        small, large = samples
        value = self.FACTOR * _rms(large.mean(axis=0) - small.mean(axis=0))
        variances = [found.var(axis=0, ddof=1).mean() / len(found) for found in samples]
        se = self.FACTOR * math.sqrt(sum(variances))
        df = min(len(small), len(large)) - 1.0
        half = student(df, error / 2) * se
        interval = Interval(value, max(0.0, value - half), value + half)
        if interval.high < self.below:
            verdict = Verdict.AGREES
        else:
            verdict = Verdict.DISAGREES if interval.low > self.below else Verdict.UNDECIDED
        gap = abs(value - self.below)
        return Judged(verdict, interval, Contrast(value, se, df), gap, gap, "distance", enough=interval.high)


def _rms(vector: Floats) -> float:
    return math.sqrt(float(np.mean(vector**2)))
