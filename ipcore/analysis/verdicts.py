"""The rule that compares a measured slope with a predicted exponent.

It is a test of equivalence: agreement must be shown; a difference that could not be shown is not agreement.
So few widths, few seeds or much noise give "undecided". All numbers that are judged together share one error
rate. Exponents describe infinite width, so to disagree a slope must lie outside the band by more than terms
of the next order in the width may move it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from ipcore.analysis.intervals import error_of_bound
from ipcore.analysis.slopes import Slope
from ipcore.analysis.welch import finite_width_bias, toward

TOLERANCE: Final = 0.1
FALL: Final = -0.25
"""A size falls with the width if its slope lies below: midway between the possible exponents 0 and -1/2."""
MIN_SEEDS: Final = 3
_MOST_SEEDS: Final = 141


class Verdict(StrEnum):
    """Result of comparing a measurement with theory, at the measured widths."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNDECIDED = "undecided"
    # The exponent cannot show at these widths, and the slope that theory expects there instead was measured.
    NOT_YET = "not yet"
    # The best rate lies at an edge of the grid, so it is not known.
    NOT_BRACKETED = "not bracketed"


class Trend(StrEnum):
    """Behaviour of a size as the width grows."""

    FALLS = "falls"
    STAYS = "does not fall"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason; `why` is "" where the numbers suffice.

    Attributes:
        verdict: See `Verdict`.
        why: The reason in words.
        hidden: Undecided because the slope is too small, and a leading term may be hidden.
        needed: How many seeds would decide, if the estimate stays as it is; 0: no number of seeds, but larger
            widths; None: not known, or something else is missing.
    """

    verdict: Verdict
    why: str = ""
    hidden: bool = False
    needed: int | None = None


def judge(
    fit: Slope,
    predicted: Fraction,
    *,
    tolerance: float = TOLERANCE,
    upper_bound: bool = False,
    one_term: bool = False,
    numbers: int = 1,
) -> Judgement:
    """Compare a slope with an exponent.

    With bounds L, U of the slope that each err with probability 0.025 over `numbers`, the bounds of the
    exponent without the next order (`Slope.limit`), the band predicted +- tolerance, and B, by how much terms
    of the next order may move the slope (`finite_width_bias`):

        agrees      L and U lie in the band, the interval of the limit meets it, and there are three seeds
        disagrees   L lies above the band by more than B, or both L and the lower bound of the limit lie above
                    it; below the band likewise, if nothing can be hidden
        undecided   otherwise, and where the slope moves toward the band by more than terms of the next order
                    can bend it: then it is not a power of m at these widths

    An exponent is that of the largest term, which others can hide at small widths, while nothing hides a term
    that is larger than predicted. So a sum that is too small never disagrees.

    Args:
        fit: The slope.
        predicted: The exponent.
        tolerance: > 0.
        upper_bound: The exponent is only an upper bound. Then a slope above it disagrees, and nothing agrees.
        one_term: The size is not a sum of terms of different orders, so nothing can be hidden.
        numbers: How many are judged together: the error rate 0.05 is that of all.
    """
    if fit.missing:
        return Judgement(Verdict.UNDECIDED, f"{fit.missing}: the others are a selection; lower the rate")
    side = _side(fit, float(predicted), tolerance, numbers)
    band = float(predicted) - tolerance, float(predicted) + tolerance
    if side and toward(fit.contrast.value, fit.bend, fit.widths, band, error_of_bound(numbers)):
        return Judgement(
            Verdict.UNDECIDED, f"the slope still moves toward the prediction: {_locals(fit)}", hidden=side < 0
        )
    if side > 0 or (side < 0 and one_term and not upper_bound):
        return Judgement(Verdict.DISAGREES)
    if upper_bound:
        kept = fit.contrast.bounds(error_of_bound(numbers))[1] <= float(predicted) + tolerance
        return Judgement(
            Verdict.UNDECIDED, f"theory has an upper bound only{', which is kept' if kept else ''}"
        )
    if side < 0:
        why = "it is smaller than predicted, so a leading term may be hidden at these widths"
        return Judgement(Verdict.UNDECIDED, why, hidden=True)
    why, needed = _doubt(fit, float(predicted), tolerance, numbers)
    return Judgement(Verdict.UNDECIDED if why else Verdict.AGREES, why, needed=needed)


def trend(fit: Slope) -> tuple[Trend, str]:
    """Whether a size falls as the width grows, with the reason if that is undecided.

    It falls if the interval of the slope lies below -1/4, midway between the possible exponents, and does not
    if it lies above.
    """
    low, high = fit.contrast.bounds(error_of_bound(1))
    if fit.missing:
        return Trend.UNDECIDED, f"{fit.missing}: the others are a selection; lower the rate"
    if low <= FALL <= high:
        return Trend.UNDECIDED, _more(fit, abs(fit.contrast.value - FALL), 1)[0]
    if fit.seeds < MIN_SEEDS:
        return Trend.UNDECIDED, f"fewer than {MIN_SEEDS} seeds"
    return (Trend.FALLS if high < FALL else Trend.STAYS), ""


def _side(fit: Slope, predicted: float, tolerance: float, numbers: int) -> int:
    """1 if the slope is shown to lie above the band, -1 below, else 0."""
    error, bias = error_of_bound(numbers), finite_width_bias(fit.widths)
    low, high = fit.contrast.bounds(error)
    limit_low, limit_high = fit.limit.bounds(error)
    top, bottom = predicted + tolerance, predicted - tolerance
    if low > top + bias or min(low, limit_low) > top:
        return 1
    return -1 if high < bottom - bias or max(high, limit_high) < bottom else 0


def _doubt(fit: Slope, predicted: float, tolerance: float, numbers: int) -> tuple[str, int | None]:
    """Why a slope that is not shown to lie outside the band is not shown to lie in it, and `needed`."""
    error = error_of_bound(numbers)
    low, high = fit.contrast.bounds(error)
    limit_low, limit_high = fit.limit.bounds(error)
    top, bottom = predicted + tolerance, predicted - tolerance
    if fit.seeds == 1:
        return "one seed has no interval", None
    if fit.seeds < MIN_SEEDS:
        return f"fewer than {MIN_SEEDS} seeds", None
    if not bottom < low <= high < top:
        off, bias = abs(fit.contrast.value - predicted), finite_width_bias(fit.widths)
        return _more(fit, max(tolerance - off, off - tolerance - bias), numbers)
    if limit_low > top or limit_high < bottom:
        return f"the slope still changes with the width: {_locals(fit)}", 0
    return "", None


def _more(fit: Slope, gap: float, numbers: int) -> tuple[str, int | None]:
    """What would decide it if the estimate does not change: in words, and as `needed`."""
    if fit.seeds == 1:
        return "one seed has no interval", None
    error = error_of_bound(numbers)
    low, high = fit.contrast.bounds(error)
    together = "" if numbers == 1 else f" ({low:.2f} .. {high:.2f} as one of {numbers} numbers)"
    text = f"the interval is too wide{together}"
    more = range(fit.seeds + 1, _MOST_SEEDS + 1)
    # The interval is narrower the more seeds there are.
    place = bisect_left(more, True, key=lambda n: fit.contrast.half(error, n / fit.seeds) < gap)
    if place == len(more):
        return f"{text}; seeds alone will hardly do, add larger widths", 0
    return f"{text}; about {more[place]} seeds would do", more[place]


def _locals(fit: Slope) -> str:
    return "local slopes " + ", ".join(f"{slope:.2f}" for slope in fit.local)
