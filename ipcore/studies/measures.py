"""How one cell is measured and judged at a look: slopes, means, boundaries, remainders.

A measure turns values per width and seed into contrasts with Welch's standard errors
(`ipcore.analysis.welch`), and these into a verdict by the rules of docs/study-rules.md. Every bound errs with
probability a* (`ipcore.studies.looks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from ipcore.analysis.welch import (
    Contrast,
    bend_weights,
    contrast,
    finite_width_bias,
    limit_weights,
    slope_weights,
    student,
    toward,
)
from ipcore.studies.decision import Interval, Verdict
from ipcore.studies.predictions import Band
from ipcore.studies.question import FALL

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """A cell at one look.

    Attributes:
        verdict: UNDECIDED: more seeds, or wider networks.
        interval: The number, with bounds that each err with a*.
        contrast: What has to become more certain.
        gap: Half the width of the interval at which it will be decided if the estimate stays as it is; <= 0:
            not by more seeds.
        wider_gap: The same for widths twice as large.
        unit: Of the number.
        why: What else keeps it open; "".
        hopeless: More seeds and wider networks will not decide it.
        diverged: Because too many runs diverged before it was recorded.
        enough: The tolerance with which the present data would agree (without a prediction: be enough); None
            where that is no question of a tolerance.
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
        """Before there is anything to judge."""
        none = Contrast(math.nan, math.inf, 1.0)
        return cls(Verdict.UNDECIDED, Interval(), none, -math.inf, -math.inf, unit, why, hopeless=True)


Values = Callable[[int, int], Floats]
"""Values of so many seeds at a width, (width, seeds) -> [seeds]; NaN for runs without one."""


class Measure(Protocol):
    """What a cell measures."""

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """The verdict at a look.

        Args:
            widths: m, ascending.
            counts: Seeds at each width.
            error: a*, of every bound.
        """
        ...


@dataclass(frozen=True, slots=True)
class Slope:
    """The exponent of a size against a prediction p_low .. p_high, within tau.

    agrees: p_low - tau < L, U < p_high + tau, and the interval of the exponent without the next order meets
    the band. disagrees: L > p_high + tau + B, or L and the lower bound of the exponent without the next order
    > p_high + tau; mirrored below.

    Attributes:
        values: Natural logs of the size.
        band: Prediction.
        tolerance: tau.
        hidden: The size is a sum whose leading term may be small: too small a slope never disagrees.
    """

    values: Values
    band: Band
    tolerance: float
    hidden: bool = False

    unit: ClassVar[str] = "slope"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        samples = _finite(self.values, widths, counts)
        if isinstance(samples, str):
            return Judged.nothing(samples, self.unit)
        slope = contrast(slope_weights(widths), samples)
        limit = contrast(limit_weights(widths), samples)
        bend = contrast(bend_weights(widths), samples)
        return against_band(slope, limit, bend, widths, self.band, self.tolerance, error, hidden=self.hidden)


def against_band(
    slope: Contrast,
    limit: Contrast,
    bend: Contrast,
    widths: Sequence[int],
    band: Band,
    tolerance: float,
    error: float,
    *,
    hidden: bool = False,
) -> Judged:
    """The rule of `Slope`.

    Args:
        slope: theta.
        limit: theta without the next order.
        bend: Change of the local slope over the widths.
        widths: m.
        band: Prediction.
        tolerance: tau.
        error: a*.
        hidden: See `Slope`.
    """
    low, high = slope.bounds(error)
    interval = Interval(slope.value, low, high)
    if not band.known:
        decided = high - low < 2 * tolerance
        verdict = Verdict.NO_PREDICTION if decided else Verdict.UNDECIDED
        return Judged(verdict, interval, slope, tolerance, tolerance, enough=(high - low) / 2)
    bottom = -math.inf if band.low is None else float(band.low) - tolerance
    top = math.inf if band.high is None else float(band.high) + tolerance
    limit_low, limit_high = limit.bounds(error)
    bias = finite_width_bias(widths)
    wider = finite_width_bias([2 * m for m in widths])
    verdict, why, hopeless = Verdict.UNDECIDED, "", False
    if bottom < low and high < top:
        if limit_low < top and limit_high > bottom:
            verdict = Verdict.AGREES
        else:
            why = "without the next order in the width the exponent lies outside the band"
    elif low > top + bias or (low > top and limit_low > top):
        verdict = Verdict.DISAGREES
    elif high < bottom - bias or (high < bottom and limit_high < bottom):
        if hidden:
            why = "it is smaller than predicted: its leading term may be hidden at these widths"
            hopeless = high < bottom - bias
        else:
            verdict = Verdict.DISAGREES
    if verdict is Verdict.DISAGREES and toward(slope.value, bend, widths, (bottom, top), error):
        verdict, why = Verdict.UNDECIDED, "the slope still moves toward the prediction with the width"
    off = _distance(slope.value, band)
    near = off / math.sqrt(2) if abs(off) < 2 * (tolerance + bias) else off
    small = slope.value < bottom and hidden
    return Judged(
        verdict,
        interval,
        slope,
        _gap(off, tolerance, bias, small=small),
        _gap(near, tolerance, wider, small=small),
        why=why,
        hopeless=hopeless,
        enough=max(off, 0.0) + slope.half(error),
    )


def _distance(value: float, band: Band) -> float:
    """How far outside the prediction, >= 0; inside an interval, how deep, < 0."""
    low = -math.inf if band.low is None else float(band.low)
    high = math.inf if band.high is None else float(band.high)
    return max(low - value, value - high)


def _gap(off: float, tolerance: float, bias: float, *, small: bool) -> float:
    inside = tolerance - off
    return inside if small else max(inside, off - tolerance - bias)


@dataclass(frozen=True, slots=True)
class Trend:
    """Whether a size falls with the width: U < -1/4; it stays if L > -1/4.

    A change is a sum: where theory says that it stays, a fall is no disagreement.

    Attributes:
        values: Natural logs of the size.
        falls: What theory predicts; None: nothing.
    """

    values: Values
    falls: bool | None

    unit: ClassVar[str] = "slope"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        samples = _finite(self.values, widths, counts)
        if isinstance(samples, str):
            return Judged.nothing(samples, self.unit)
        slope = contrast(slope_weights(widths), samples)
        low, high = slope.bounds(error)
        gap = abs(slope.value - FALL)
        if low <= FALL <= high:
            verdict = Verdict.UNDECIDED
        elif self.falls is None:
            verdict = Verdict.NO_PREDICTION
        elif (high < FALL) == self.falls:
            verdict = Verdict.AGREES
        elif self.falls:
            verdict = Verdict.DISAGREES
        else:
            why = "it falls at these widths, where a leading term may be hidden"
            return Judged(
                Verdict.UNDECIDED, Interval(slope.value, low, high), slope, gap, gap, why=why, hopeless=True
            )
        return Judged(verdict, Interval(slope.value, low, high), slope, gap, gap)


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean at one width: below a bound (U < below), or within tau (no prediction).

    Attributes:
        values: The number itself.
        width: m, one of the study's first widths.
        below: It should be below this; None: it is only measured, to tau.
        tolerance: tau.
        unit: Of the number.
    """

    values: Values
    width: int
    below: float | None
    tolerance: float
    unit: str = "distance"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        samples = _finite(self.values, (self.width,), (counts[list(widths).index(self.width)],))
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
    """How far the mean of a vector q is from its limit: 2.42 rms|mean q_2m - mean q_m| at the largest widths.

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


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where along one exponent two slopes meet: u(v) = theta_1 + 2 (theta_2 - theta_1)(v - 1/2) - theta_0.

    theta_1 and theta_2 are measured 1/2 and 1 into the side on which the size moves with the exponent,
    theta_0 1/2 into the other. u is 0 at the boundary, v = 0 if it is where it is held to be. agrees: u(-tau)
    and u(tau) have proven opposite signs; disagrees: proven equal ones.

    Attributes:
        flat: Natural logs at v = -1/2.
        near: At v = 1/2.
        far: At v = 1.
        tolerance: tau.
        at: The exponent at v = 0.
        side: +1 if v grows with the exponent, -1 if it falls.
    """

    flat: Values
    near: Values
    far: Values
    tolerance: float
    at: float = 0.0
    side: int = 1

    unit: ClassVar[str] = "exponent"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        slopes = []
        for values in (self.flat, self.near, self.far):
            samples = _finite(values, widths, counts)
            if isinstance(samples, str):
                return Judged.nothing(samples, self.unit)
            slopes.append(contrast(slope_weights(widths), samples))

        def u(v: float) -> Contrast:
            flat, near, far = slopes
            return near * (2 - 2 * v) + far * (2 * v - 1) + flat * -1

        found = between_signs(u, self.tolerance, error)
        ends = sorted(self.at + self.side * end for end in (found.interval.low, found.interval.high))
        return replace(found, interval=Interval(self.at + self.side * found.interval.value, *ends))


def between_signs(u: Callable[[float], Contrast], tolerance: float, error: float) -> Judged:
    """The rule of `Boundary`.

    Args:
        u: Linear in v; 0 at the boundary.
        tolerance: tau.
        error: a*.
    """
    ends = [u(-tolerance), u(tolerance)]
    signs = [_sign(end, error) for end in ends]
    verdict = Verdict.UNDECIDED
    if 0 not in signs:
        verdict = Verdict.DISAGREES if signs[0] == signs[1] else Verdict.AGREES
    places = np.linspace(-1.0, 1.0, 401)
    open_places = [float(v) for v in places if _sign(u(float(v)), error) == 0]
    at_zero, slope = u(0.0).value, u(1.0).value - u(0.0).value
    root = -at_zero / slope if slope else math.nan
    low = open_places[0] if open_places and open_places[0] > -1 else -math.inf
    high = open_places[-1] if open_places and open_places[-1] < 1 else math.inf
    if not open_places and math.isfinite(root):
        low = high = root
    worst = min(ends, key=lambda end: abs(end.value) - end.se)
    gap = abs(worst.value)
    return Judged(verdict, Interval(root, low, high), worst, gap, gap, "exponent")


def _sign(end: Contrast, error: float) -> int:
    low, high = end.bounds(error)
    return 1 if low > 0 else -1 if high < 0 else 0


def _finite(values: Values, widths: Sequence[int], counts: Sequence[int]) -> list[Floats] | str:
    """The values of each width without gaps; a sentence if a width has none, or a size of exactly 0."""
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


def _rms(vector: Floats) -> float:
    return math.sqrt(float(np.mean(vector**2)))
