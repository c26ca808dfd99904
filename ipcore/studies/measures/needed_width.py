"""The width m* at which the distance to the infinite-width limit is a given one.

Networks of width m are compared with the limit of their own seed, since a limit belongs to a sequence of
batches: D(m)^2 is the mean square distance of their outputs on the test set, the limits' own error taken out,
relative to the limits' (`ipcore.analysis.output_distance`). A line through log D over log m leads to m*. Its
interval holds every m at which the line's bounds do not show D to be above or below (Fieller, J. R. Stat.
Soc. B 16, 1954), so it is right however far the line is extended, and open where the slope may be 0. log D of
a width has the standard error of its jackknife pseudo-values (Miller, Ann. Math. Stat. 39, 1968) over seeds,
and over the sums of the sketch from which distances are computed. These sums are the same at all widths, so
their error hardly affects slopes.

Where no limit is computed far wider networks take its place. Their own error is their variance, if it falls
like 1/m: at 16 times the width a 17th of the variance of the difference. Pseudo-values take it as known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np

from ipcore.analysis.output_distance import own_square
from ipcore.analysis.welch import Contrast, contrast, slope_weights
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.studies.decision import Interval, Verdict
from ipcore.studies.measures.judged import Floats, Judged, Values
from ipcore.studies.words import percent

FACTOR: Final = 4.0
"""m* is known once the upper end of its interval is at most this many times the lower one."""
BEYOND: Final = 1e9
"""An extrapolation to wider networks than these only says that the distance hardly falls."""
_STEP: Final = 0.05  # of log m
_HALVINGS: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """Networks of one width beside the limits of their seeds.

    Attributes:
        log: Pseudo-values of log D, [seeds].
        sums: Pseudo-values of log D over the sums of the sketch, [J].
        bias: Part of D^2 that is squared bias, 0 .. 1.
        own: The reference's own error relative to |f|.
    """

    log: Floats
    sums: Floats
    bias: float
    own: float


@dataclass(frozen=True, slots=True)
class TestOutputs:
    """Outputs on the test set of networks and their limits, seed by seed.

    Attributes:
        sketches: (width, seeds) -> [seeds, 1 + J]: what the probe `outputs` records; of infinite width too.
        errors: (width, seeds) -> [seeds]: of infinite width the error of f relative to |f|; NaN: exact.
        times_wider: Networks this many times wider than the widest compared take the place of infinite
            width; 0: limits are computed.
    """

    __test__: ClassVar = False  # not a class of tests

    sketches: Values
    errors: Values
    times_wider: int = 0

    def beside(self, width: int, widest: int, seeds: int) -> Beside | str:
        """Networks beside their limits; a sentence if there is nothing to compare.

        Args:
            width: m.
            widest: The largest width compared, which determines the width in place of infinite width.
            seeds: S, at both.
        """
        reference = widest * self.times_wider or INFINITE_WIDTH
        networks, limits = self.sketches(width, seeds), self.sketches(reference, seeds)
        both = np.isfinite(networks).all(axis=1) & np.isfinite(limits).all(axis=1)
        if both.sum() < 2:
            where = f"width {reference:,}" if self.times_wider else "infinite width"
            return f"less than two seeds have outputs both at width {width} and at {where}"
        own = self._own(widest, reference, seeds)[both]
        found = _beside(networks[both, 1:] - limits[both, 1:], limits[both, 0] - own, own)
        if found is not None:
            return found
        if self.times_wider:
            return (
                f"outputs at width {width} are those of width {reference:,} within these networks' own "
                "error, or those are 0"
            )
        return (
            f"outputs at width {width} are those of infinite width within the particles' own error, or "
            "those are 0; more particles (infinite_width) have a smaller one"
        )

    def _own(self, widest: int, reference: int, seeds: int) -> Floats:
        """The squared error of the reference, [seeds]."""
        limits = self.sketches(reference, seeds)
        if not self.times_wider:
            return np.asarray(np.nan_to_num(self.errors(reference, seeds)) ** 2 * limits[:, 0], np.float64)
        off = (self.sketches(widest, seeds) - limits)[:, 1:]
        off = off[np.isfinite(off).all(axis=1)]
        # Of less than two seeds `beside` says that there are too few, at the widest width itself.
        return np.full(seeds, own_square(off, widest, reference) if len(off) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class PairedOutputs:
    """Outputs on the test set of networks beside kernel machines that start from their own f_0.

    Attributes:
        sketches: (width, seeds) -> [seeds, 1 + J]: what the probe `paired_outputs` records.
    """

    sketches: Values
    times_wider: ClassVar[int] = 0

    def beside(self, width: int, widest: int, seeds: int) -> Beside | str:
        """As `TestOutputs.beside`."""
        found = self.sketches(width, seeds)
        found = found[np.isfinite(found).all(axis=1)]
        if len(found) < 2:
            return f"less than two seeds have recorded outputs beside their kernel machines at width {width}"
        beside = _beside(found[:, 1:], found[:, 0], np.zeros(len(found)))
        return beside or f"outputs at width {width} do not move, or are those of the kernel machines exactly"


def _beside(off: Floats, units: Floats, own: Floats) -> Beside | None:
    """Networks less their limits; None where they are nearer than the limits' own error, or these are 0.

    Args:
        off: Sketches of the difference, [seeds, J].
        units: What squares are relative to, [seeds].
        own: Squared errors of the limits, [seeds].
    """
    n, sums = off.shape
    squares = (off**2).sum(axis=1) - own
    total, unit = squares.sum(), units.sum()
    # Without one seed, and without one sum whose share the others take over.
    fewer = total - squares
    others = ((off**2).sum() - (off**2).sum(axis=0)) * sums / max(sums - 1, 1) - own.sum()
    if not (unit > units.max() and min(total, fewer.min(), others.min()) > 0):
        return None
    log = math.log(total / unit) / 2
    centre = off.mean(axis=0)
    bias = float(centre @ centre - off.var(axis=0, ddof=1).sum() / n) / float(total / n)
    return Beside(
        n * log - (n - 1) * np.log(fewer / (unit - units)) / 2,
        sums * log - (sums - 1) * np.log(others / unit) / 2,
        min(1.0, max(0.0, bias)),
        math.sqrt(own.sum() / unit),
    )


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
