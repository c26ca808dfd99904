"""The rule that compares a measured slope with a predicted exponent.

It is a test of equivalence: agreement must be shown, and does not follow from a lack of evidence against it.
So few widths, few seeds or much noise give "undecided". Exponents speak of infinite width, so a slope
that still changes with the width is "undecided" too, where the change could lead to (or away from) the
prediction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from ipcore.analysis.resampling import Estimate
from ipcore.analysis.slopes import Slope

TOLERANCE: Final = 0.1
MIN_SEEDS: Final = 3
# A change of the local slope below this part of the tolerance, over all widths, is not worth waiting for.
_MATERIAL: Final = 0.25
# A leading term that is a tenth of the sum raises the slope by this much above the half step below it.
_VISIBLE: Final = 0.05


class Verdict(StrEnum):
    """What measurement says of theory, at the widths that were measured."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNDECIDED = "undecided"
    NOT_YET = "not yet"  # the exponent cannot show there, and what theory expects there instead is measured
    NOT_BRACKETED = "not bracketed"  # the best rate lies at an edge of the grid, so it is not known


class Trend(StrEnum):
    """What happens to a size as the width grows."""

    FALLS = "falls"
    STAYS = "does not fall"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and why it is no other; `why` is "" where the numbers alone say it."""

    verdict: Verdict
    why: str = ""


def judge(
    fit: Slope,
    predicted: Fraction,
    *,
    tolerance: float = TOLERANCE,
    upper_bound: bool = False,
    one_term: bool = False,
) -> Judgement:
    """Hold a slope against an exponent.

    With the band predicted +- tolerance:

        agrees      the interval of the slope lies in the band, there are three seeds, and it is not so that
                    the local slope drifts (its interval excludes 0) to outside the band over as many
                    doublings again
        disagrees   the interval of the slope lies on one side of the band; the local slope does not drift
                    toward it (interval excludes 0, by more than a quarter of the tolerance); and
                    - above the band: so does the interval of the slope at the largest width,
                    - below: no leading term can be hidden, see next
        undecided   otherwise

    Too small is judged more cautiously than too large: an exponent is that of the largest term, which others
    can hide at small widths, while nothing hides a term that is larger than predicted. Of a sum of two powers
    with exponents p > q the local slope s drifts by (p-s)(s-q) per unit of log m. Exponents of the calculus
    differ by halves, so a slope below p may hide a leading term if its drift may be as large as that, with q
    the first half step that lies 0.05 or more below s.

    Args:
        fit: The slope.
        predicted: The exponent.
        tolerance: > 0.
        upper_bound: The exponent is only an upper bound. Then a slope above it disagrees, and nothing agrees.
        one_term: The size is no sum of terms of different orders, so nothing can be hidden.
    """
    low, high = float(predicted) - tolerance, float(predicted) + tolerance
    above, below = fit.slope.low > high, fit.slope.high < low
    if upper_bound:
        return _judge_bound(fit, float(predicted), tolerance)
    if above or below:
        return _judge_outside(fit, float(predicted), tolerance, one_term=one_term)
    if fit.slope.low < low or fit.slope.high > high:
        return Judgement(Verdict.UNDECIDED, _too_wide(fit))
    if fit.seeds < MIN_SEEDS:
        return Judgement(Verdict.UNDECIDED, f"fewer than {MIN_SEEDS} seeds")
    if _drifts(fit) and not low <= fit.ahead.value <= high:
        return Judgement(Verdict.UNDECIDED, f"the slope drifts away with the width: {_locals(fit)}")
    return Judgement(Verdict.AGREES)


def trend(fit: Slope, *, tolerance: float = TOLERANCE) -> tuple[Trend, str]:
    """Whether a size falls as the width grows, with why not if that is undecided.

    It falls if the interval of the slope lies below -tolerance, it does not if it lies above; and the local
    slope must not drift (its interval excludes 0) to the other side at twice the doublings.

    Args:
        fit: The slope.
        tolerance: Slopes above -tolerance are no fall.
    """
    if fit.slope.low <= -tolerance <= fit.slope.high:
        return Trend.UNDECIDED, _too_wide(fit)
    if fit.seeds < MIN_SEEDS:
        return Trend.UNDECIDED, f"fewer than {MIN_SEEDS} seeds"
    falls = fit.slope.value < -tolerance
    if _drifts(fit) and falls != (fit.ahead.value < -tolerance):
        return Trend.UNDECIDED, f"the slope drifts with the width: {_locals(fit)}"
    return (Trend.FALLS if falls else Trend.STAYS), ""


def _judge_bound(fit: Slope, bound: float, tolerance: float) -> Judgement:
    if fit.slope.low > bound + tolerance:
        return _judge_outside(fit, bound, tolerance, one_term=False)
    kept = ", which is kept" if fit.slope.high <= bound + tolerance else ""
    return Judgement(Verdict.UNDECIDED, f"theory has an upper bound only{kept}")


def _judge_outside(fit: Slope, predicted: float, tolerance: float, *, one_term: bool) -> Judgement:
    """The interval of the slope lies on one side of the band."""
    above = fit.slope.value > predicted
    toward = -fit.drift.value if above else fit.drift.value
    if _drifts(fit) and toward > _MATERIAL * tolerance:
        return Judgement(Verdict.UNDECIDED, f"the slope still moves toward the prediction: {_locals(fit)}")
    if above and fit.end.low <= predicted + tolerance:
        return Judgement(
            Verdict.UNDECIDED,
            f"the slope at the largest width is too uncertain: {fit.end}; add seeds or widths",
        )
    if not above and not one_term and _may_hide(fit, predicted):
        return Judgement(
            Verdict.UNDECIDED,
            f"a leading term may be hidden: the slope may rise by {fit.drift.high:.2f} over these widths",
        )
    return Judgement(Verdict.DISAGREES)


def _may_hide(fit: Slope, predicted: float) -> bool:
    """Whether the slope may drift as that of a sum of two powers does, of which the first is m^predicted."""
    gap = predicted - fit.slope.value
    apart = (math.floor(2 * (gap + _VISIBLE)) + 1) / 2
    return fit.drift.high >= gap * (apart - gap) * math.log(fit.widths[-1] / fit.widths[0])


def _drifts(fit: Slope) -> bool:
    return not _holds(fit.drift, 0.0)


def _holds(interval: Estimate, value: float) -> bool:
    return interval.low <= value <= interval.high


def _too_wide(fit: Slope) -> str:
    return "one seed has no interval" if fit.seeds == 1 else "the interval is too wide; add seeds or widths"


def _locals(fit: Slope) -> str:
    return "local slopes " + ", ".join(f"{slope:.2f}" for slope in fit.local)
