"""Rate transfer: how far the best base learning rate moves as the width doubles.

Every seed has a best rate at every width (`ipcore.analysis.best_rates`). The drift of a seed is the slope of
log2 of it against log2 width, in octaves per doubling, and the interval is Student's over seeds (Yang et al.,
arXiv:2203.03466, figure 1: about 0 for muP, downward for standard parameterization).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.analysis.best_rates import Losses, best_rates
from ipcore.analysis.intervals import Estimate, error_of_bound
from ipcore.analysis.optimum import drift, octave_weights
from ipcore.analysis.predicted_drift import PredictedDrift
from ipcore.analysis.verdicts import MIN_SEEDS, Verdict
from ipcore.analysis.welch import Contrast, contrast

# Advice never asks for more seeds.
_MOST_SEEDS: Final = 141
# Between two rates of the grid at most so many pieces, less one new rate.
_MOST_PARTS: Final = 4

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RateTransfer:
    """The drift of the best rate.

    Attributes:
        drift: Octaves per doubling of the width, with what the grid leaves open.
        best: The best rate of each width, the geometric mean over seeds.
        widths: m, ascending.
        seeds: How many.
        predicted: Drift that theory predicts, or None.
        tolerance: Largest difference that still agrees, octaves per doubling.
        verdict: Undecided without a prediction.
        warnings: Seeds that were left out, and widths at which the grid leaves the best rate open.
        sentence: The finding in one sentence.
        ends: The 95 % interval of each best rate; () where they are not known.
    """

    drift: Estimate
    best: tuple[float, ...]
    widths: tuple[int, ...]
    seeds: int
    predicted: PredictedDrift | None
    tolerance: float
    verdict: Verdict
    warnings: tuple[str, ...]
    sentence: str
    ends: tuple[tuple[float, float], ...] = ()


def check_rate_transfer(
    losses: Losses,
    predicted: PredictedDrift | str = "theory makes no prediction for it",
    *,
    tolerance: float = 0.25,
) -> RateTransfer:
    """Find the best rate of every width and seed, and its drift.

    Args:
        losses: Final loss > 0 by (width, rate, seed); NaN or infinite of a run that diverged. A run that has
            not ended has none.
        predicted: Predicted drift, or why there is none (`predicted_drift`).
        tolerance: Octaves per doubling.

    Raises:
        AnalysisError: Fewer than three widths or rates, losses that are not positive, a width at which the
            best rate lies at the edge of the grid (there is no drift then), or seeds with less than three
            rates below the first that diverges.
    """
    best = best_rates(losses)
    widths, seeds, ranges = best.widths, len(best.optima), best.ranges
    optima = np.array(list(best.optima.values()))
    open_ = _left_open(widths, optima, ranges)
    moved = drift(widths, best.optima)
    own = Estimate.of(moved)
    estimate = Estimate(own.value, own.low + open_[0], own.high + open_[1])
    verdict, why = _verdict(moved, predicted, tolerance, seeds, open_, ranges)
    said = "" if isinstance(predicted, str) else f", theory suggests {predicted}"
    sentence = (
        f"best rate {verdict}: drifts {estimate} octaves per doubling of the width{said} "
        f"(tolerance {tolerance:g}), widths {widths[0]}..{widths[-1]}, {seeds} seeds"
    )
    return RateTransfer(
        estimate,
        tuple((2.0 ** np.mean(optima, axis=0)).tolist()),
        widths,
        seeds,
        None if isinstance(predicted, str) else predicted,
        tolerance,
        verdict,
        (*best.left_out, *_between(widths, ranges)),
        f"{sentence}; {why}" if why else sentence,
        _ends(optima, ranges),
    )


def _left_open(widths: Sequence[int], optima: _Floats, ranges: _Floats) -> tuple[float, float]:
    """Least and largest amount by which the grid may have moved the drift (the first is <= 0).

    Args:
        widths: m.
        optima: u* by seed and width.
        ranges: Interval of each, (seeds, widths, 2).
    """
    moves = octave_weights(widths)[:, None] * (ranges - optima[..., None])
    low, high = (ends(axis=2).sum(axis=1).mean() for ends in (moves.min, moves.max))
    return float(low), float(high)


def _between(widths: Sequence[int], ranges: _Floats) -> tuple[str, ...]:
    """A sentence on the widths at which the grid leaves the best rate of most seeds open."""
    places = {}
    for width, row in zip(widths, np.swapaxes(ranges, 0, 1), strict=True):
        if (row[:, 0] < row[:, 1]).mean() > 0.5:  # of the seeds
            low, high = np.median(row[row[:, 0] < row[:, 1]], axis=0)
            places[width] = f"{width} ({2.0**low:.3g} .. {2.0**high:.3g})"
    if not places:
        return ()
    return (
        f"the grid leaves the best rate open at width {', '.join(places.values())}; rates there would make "
        "the drift more certain",
    )


def _ends(optima: _Floats, ranges: _Floats) -> tuple[tuple[float, float], ...]:
    """Intervals of the best rates over seeds, with what the grid leaves open."""
    if len(optima) < 2:
        return ()
    each = [Estimate.of(contrast((1.0,), [np.array(row)])) for row in optima.T]
    moves = (ranges - optima[..., None]).mean(axis=0)
    return tuple(
        (2.0 ** (e.low + min(low, 0.0)), 2.0 ** (e.high + max(high, 0.0)))
        for e, (low, high) in zip(each, moves.tolist(), strict=True)
    )


def _verdict(
    moved: Contrast,
    predicted: PredictedDrift | str,
    tolerance: float,
    seeds: int,
    left_open: tuple[float, float],
    ranges: _Floats,
) -> tuple[Verdict, str]:
    """The verdict on a drift with what the grid leaves open, and if it is undecided why, and what decides."""
    if isinstance(predicted, str):
        return Verdict.UNDECIDED, predicted
    if seeds < MIN_SEEDS:
        return Verdict.UNDECIDED, f"fewer than {MIN_SEEDS} seeds"
    low, high = float(predicted.low) - tolerance, float(predicted.high) + tolerance
    least, most = moved.value + left_open[0], moved.value + left_open[1]
    half = moved.half(error_of_bound(1))
    if low < least - half and most + half < high:
        return Verdict.AGREES, ""
    if most + half < low or least - half > high:
        return Verdict.DISAGREES, ""
    # So small must half the interval become, for either verdict.
    gap = max(min(least - low, high - most), low - most, least - high)
    return Verdict.UNDECIDED, _missing(moved, gap, high - low, seeds, most - least, ranges)


def _missing(moved: Contrast, gap: float, band: float, seeds: int, left_open: float, ranges: _Floats) -> str:
    """What would decide it, if the estimate does not change."""
    error = error_of_bound(1)
    more = range(seeds + 1, _MOST_SEEDS + 1)
    needed = next((n for n in more if moved.half(error, n / seeds) < gap), None)
    if left_open and (needed is None or left_open > 2 * moved.half(error)):
        rates = _between_rates(ranges, parts=math.ceil(2 * left_open / band))
        return f"the grid is too coarse; add the base rates {rates}"
    if needed is None:
        return "the interval is too wide; seeds alone will hardly do, add larger widths"
    return f"the interval is too wide; about {needed} seeds would do"


def _between_rates(ranges: _Floats, parts: int) -> str:
    """Rates that part what the grid leaves open into so many pieces, two at least."""
    gaps = sorted({(round(low, 6), round(high, 6)) for low, high in ranges.reshape(-1, 2) if low < high})
    parts = min(max(parts, 2), _MOST_PARTS)
    inner = {
        f"{2.0 ** (low + (high - low) * part / parts):.3g}": None
        for low, high in gaps
        for part in range(1, parts)
    }
    return ", ".join(inner)
