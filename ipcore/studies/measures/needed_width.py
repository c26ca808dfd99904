"""The width m* at which the distance to the infinite-width limit is a given one.

Networks of width m are compared with the limit of their own seed, since a limit belongs to a sequence of
batches. With off = loss_m - loss_inf, D(m)^2 = sum over seeds off^2 / sum loss_inf^2: the distance of the
check "limit" (`ipcore.analysis.kinds.limit`). A line through log D over log m leads to m*. Its interval holds
every m at which the line's bounds do not show D to be above or below (Fieller, J. R. Stat. Soc. B 16, 1954),
so it is right however far the line is extended, and open where the slope may be 0. log D of a width has the
standard error of its jackknife pseudo-values (Miller, Ann. Math. Stat. 39, 1968): the log |off| of single
seeds are far from normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from ipcore.analysis.welch import Contrast, contrast, slope_weights
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.studies.decision import Interval, Verdict
from ipcore.studies.measures.judged import Floats, Judged, Values

FACTOR: Final = 4.0
"""m* is known once the upper end of its interval is at most so many times the lower one."""
BEYOND: Final = 1e9
"""A line that leads to wider networks than these says only that it hardly falls."""
_STEP: Final = 0.05  # of log m
_HALVINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Losses:
    """Final losses of networks beside those of the limit, seed by seed.

    Attributes:
        values: (width, seeds) -> [seeds]; of infinite width too.
    """

    values: Values

    def pseudo(self, width: int, seeds: int) -> Floats | str:
        """Pseudo-values of log D, one per seed that has both losses; a sentence if there are none."""
        limit = self.values(INFINITE_WIDTH, seeds)
        off = self.values(width, seeds) - limit
        both = np.isfinite(off)
        if both.sum() < 2:
            return f"less than two seeds have a loss both at width {width} and at infinite width"
        squares, units = off[both] ** 2, limit[both] ** 2
        n = len(squares)
        total, unit = squares.sum(), units.sum()
        others = total - squares
        if not (unit > units.max() and others.min() > 0):
            return f"losses at width {width} are exactly those of infinite width, or those are 0"
        without = np.log(others / (unit - units)) / 2
        return np.asarray(n * math.log(total / unit) / 2 - (n - 1) * without, np.float64)


@dataclass(frozen=True, slots=True)
class Distance:
    """D at the largest width that was asked for: measured once it is shown to be above or below eps.

    Attributes:
        losses: Of all widths.
        width: m; where the widths have moved beyond it, the line's value there.
        tolerance: eps.
    """

    losses: Losses
    width: int
    tolerance: float

    unit: ClassVar[str] = "relative distance"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        line = _line(self.losses, widths, counts)
        if isinstance(line, str):
            return Judged.nothing(line, self.unit)
        found = line(math.log(self.width))
        if self.width in widths:
            found = contrast((1.0,), [line.samples[list(widths).index(self.width)]])
        low, high = found.bounds(error)
        interval = Interval(math.exp(found.value), math.exp(low), _exp(high))
        eps = math.log(self.tolerance)
        verdict = Verdict.UNDECIDED if low <= eps <= high else Verdict.NO_PREDICTION
        gap = abs(found.value - eps)
        return Judged(verdict, interval, found, gap, gap, self.unit, enough=_exp(high))


@dataclass(frozen=True, slots=True)
class NeededWidth:
    """m*(eps): known if its interval spans at most `FACTOR`, or lies at or below the largest width asked for.

    Attributes:
        losses: Of all widths.
        asked: The largest width that was asked for.
        tolerance: eps.
    """

    losses: Losses
    asked: int
    tolerance: float

    unit: ClassVar[str] = "width"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        line = _line(self.losses, widths, counts)
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
    samples: Sequence[Floats]

    def __call__(self, x: float) -> Contrast:
        logs = np.log(np.asarray(self.widths, np.float64))
        weights = 1 / len(logs) + (x - logs.mean()) * slope_weights(self.widths)
        return contrast(weights, self.samples)


def _line(losses: Losses, widths: Sequence[int], counts: Sequence[int]) -> _Line | str:
    samples = []
    for width, count in zip(widths, counts, strict=True):
        found = losses.pseudo(width, count)
        if isinstance(found, str):
            return found
        samples.append(found)
    return _Line(widths, samples)


def _first(start: float, step: float, end: float, shown: Callable[[float], bool]) -> float | None:
    """Where, going from `start` to `end`, something is shown first; None: nowhere."""
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
