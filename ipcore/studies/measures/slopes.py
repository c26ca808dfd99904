"""Exponents of sizes in the width: against a prediction, or whether the size falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ipcore.analysis.welch import (
    Contrast,
    bend_weights,
    contrast,
    contrasts,
    finite_width_bias,
    limit_weights,
    slope_weights,
    toward,
)
from ipcore.studies.decision import Interval, Verdict
from ipcore.studies.measures.judged import Judged, Values, finite
from ipcore.studies.predictions import Band
from ipcore.studies.question import FALL


@dataclass(frozen=True, slots=True)
class Slope:
    """The exponent of a size against a prediction p_low .. p_high, within tau.

    agrees: p_low - tau < L, U < p_high + tau, and the interval of the exponent without the next order meets
    p_low - tau .. p_high + tau. disagrees: L > p_high + tau + B, or L and the lower bound of the exponent
    without the next order > p_high + tau; mirrored below. A slope that moves toward the prediction by more
    than terms of the next order can bend it stays undecided. (B: `ipcore.analysis.welch.finite_width_bias`.)

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
        samples = finite(self.values, widths, counts)
        if isinstance(samples, str):
            return Judged.nothing(samples, self.unit)
        rows = slope_weights(widths), limit_weights(widths), bend_weights(widths)
        slope, limit, bend = contrasts(rows, samples)
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

    A change is a sum: if theory predicts that it does not fall, a fall is not a disagreement.

    Attributes:
        values: Natural logs of the size.
        falls: What theory predicts; None: nothing.
    """

    values: Values
    falls: bool | None

    unit: ClassVar[str] = "slope"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        samples = finite(self.values, widths, counts)
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
