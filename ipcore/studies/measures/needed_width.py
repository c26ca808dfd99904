"""The width m* at which the distance to the infinite-width limit is a given one.

A line through log D over log m (`beside_limit`) leads to m*. Its interval holds every m at which the line's
bounds do not show D to be above or below (Fieller, J. R. Stat. Soc. B 16, 1954), so it is right however far
the line is extended, and open where the slope may be 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np

from ipcore.analysis.welch import Contrast, contrast, slope_weights
from ipcore.studies.decision import Interval, Verdict
from ipcore.studies.measures.beside_limit import Beside, PairedOutputs, TestOutputs
from ipcore.studies.measures.judged import Floats, Judged
from ipcore.studies.words import percent

FACTOR: Final = 4.0
"""m* is known once the upper end of its interval is at most this many times the lower one."""
BEYOND: Final = 1e9
"""An extrapolation to wider networks than these only says that the distance hardly falls."""
_STEP: Final = 0.05  # of log m
_HALVINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Distance:
    """D at the largest width that was asked for: measured once it is shown to be above or below eps.

    Attributes:
        outputs: Outputs at all widths.
        width: m; where the widths have moved beyond it, the line's value there.
        tolerance: eps.
    """

    outputs: TestOutputs | PairedOutputs
    width: int
    tolerance: float

    unit: ClassVar[str] = "relative distance"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        line = _line(self.outputs, widths, counts)
        if isinstance(line, str):
            return Judged.nothing(line, self.unit)
        at = list(widths).index(self.width) if self.width in widths else None
        found = line(math.log(self.width)) if at is None else line.at(at)
        share = line.found[-1 if at is None else at].bias
        low, high = found.bounds(error)
        interval = Interval(math.exp(found.value), math.exp(low), _exp(high))
        eps = math.log(self.tolerance)
        verdict = Verdict.UNDECIDED if low <= eps <= high else Verdict.NO_PREDICTION
        gap = abs(found.value - eps)
        why = f"{percent(share)} of its square is bias, the rest variance over seeds"
        if self.outputs.times_wider:
            own = percent(line.found[-1].own)
            why += f"; those networks' own distance from the limit, {own} by a variance of order 1/m, is "
            why += "taken out"
        return Judged(verdict, interval, found, gap, gap, self.unit, why, enough=_exp(high))


@dataclass(frozen=True, slots=True)
class NeededWidth:
    """m*(eps): known if its interval spans at most `FACTOR`, or lies at or below the largest width asked for.

    Attributes:
        outputs: Outputs at all widths.
        asked: The largest width that was asked for.
        tolerance: eps.
    """

    outputs: TestOutputs | PairedOutputs
    asked: int
    tolerance: float

    unit: ClassVar[str] = "width"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        line = _line(self.outputs, widths, counts)
        if isinstance(line, str):
            return Judged.nothing(line, self.unit)
        eps, most = math.log(self.tolerance), math.log(BEYOND)
        slope = line(1.0).value - line(0.0).value
        place = (eps - line(0.0).value) / slope if slope < 0 else most
        at = min(max(place, 0.0), most)
        low = _first(at, -_STEP, 0.0, lambda x: line(x).bounds(error)[0] > eps)
        high = _first(at, _STEP, most, lambda x: line(x).bounds(error)[1] < eps)
        ends = 0.0 if low is None else math.exp(low), math.inf if high is None else math.exp(high)
        narrow = low is not None and high is not None and high - low <= math.log(FACTOR)
        near = ends[1] <= self.asked
        verdict = Verdict.NO_PREDICTION if narrow or near else Verdict.UNDECIDED
        found, wider = line(at), line(at - math.log(2))
        inside = math.log(self.asked) - at
        gap = abs(slope) * max(math.log(FACTOR) / 2, inside) if slope < 0 else -math.inf
        ratio = found.se / wider.se if 0 < wider.se < math.inf else 1.0
        return Judged(
            verdict,
            Interval(math.inf if at == most else math.exp(at), *ends),
            found,
            gap,
            gap * ratio if slope < 0 else gap,
            self.unit,
            why="" if slope < 0 else "the distance does not fall at these widths",
            enough=_exp(line(math.log(self.asked)).bounds(error)[1]),
        )


@dataclass(frozen=True, slots=True)
class _Line:
    """The least-squares line through log D over log m, as a contrast at every log m."""

    widths: Sequence[int]
    found: Sequence[Beside]

    def __call__(self, x: float) -> Contrast:
        logs = np.log(np.asarray(self.widths, np.float64))
        return self._weighted(1 / len(logs) + (x - logs.mean()) * slope_weights(self.widths))

    def at(self, place: int) -> Contrast:
        """The value of log D at one of the widths."""
        return self._weighted(np.eye(len(self.found))[place])

    def _weighted(self, weights: Floats) -> Contrast:
        seeds = contrast(weights, [one.log for one in self.found])
        sums = contrast((1.0,), [np.asarray(weights @ np.stack([one.sums for one in self.found]))])
        return seeds + replace(sums, value=0.0)


def _line(outputs: TestOutputs | PairedOutputs, widths: Sequence[int], counts: Sequence[int]) -> _Line | str:
    found = []
    for width, count in zip(widths, counts, strict=True):
        one = outputs.beside(width, widths[-1], count)
        if isinstance(one, str):
            return one
        found.append(one)
    return _Line(widths, found)


def _first(start: float, step: float, end: float, shown: Callable[[float], bool]) -> float | None:
    """The first point from `start` to `end` at which `shown` is true; None: there is none."""
    before = start
    while before != end:
        x = max(before + step, end) if step < 0 else min(before + step, end)
        if shown(x):
            for _ in range(_HALVINGS):
                middle = (before + x) / 2
                before, x = (before, middle) if shown(middle) else (middle, x)
            return x
        before = x
    return None


def _exp(value: float) -> float:
    return math.exp(value) if value < math.log(BEYOND) else math.inf
