"""Drift of the best rate, in octaves per doubling of the width, against a prediction."""

from __future__ import annotations

from ipcore.analysis.welch import Contrast
from ipcore.studies.decision import Verdict
from ipcore.studies.predictions import Band


def judge_drift(found: Contrast, band: Band, tolerance: float, error: float) -> Verdict:
    """Agrees: the interval lies in p_lo - tau .. p_hi + tau; disagrees: outside.

    Without a prediction it is decided when the interval is shorter than 2 tau.
    """
    low, high = found.bounds(error)
    if band.low is None or band.high is None:
        return Verdict.NO_PREDICTION if high - low < 2 * tolerance else Verdict.UNDECIDED
    bottom, top = float(band.low) - tolerance, float(band.high) + tolerance
    if bottom < low and high < top:
        return Verdict.AGREES
    return Verdict.DISAGREES if low > top or high < bottom else Verdict.UNDECIDED


def gap_of(value: float, band: Band, tolerance: float) -> float:
    """Half the interval at which it will be decided."""
    if band.low is None or band.high is None:
        return tolerance
    off = max(float(band.low) - value, value - float(band.high))
    return abs(tolerance - off)


def tolerance_of(found: Contrast, band: Band, error: float) -> float:
    """The tolerance with which the present data would do."""
    half = found.half(error)
    if band.low is None or band.high is None:
        return half
    return max(float(band.low) - found.value, found.value - float(band.high), 0.0) + half
