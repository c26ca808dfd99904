"""Rate transfer: how far the best base learning rate moves as the width doubles.

Every seed has a best rate at every width: the vertex of the least-squares parabola through its log losses
against log2 rate, around the best rate of the width (`ipcore.analysis.optimum`). The drift of a seed is the
slope of log2 of it against log2 width, in octaves per doubling, and the interval is Student's over seeds
(Yang et al., arXiv:2203.03466, figure 1: about 0 for muP, downward for standard parameterization). Rates at
which runs diverge end the parabola of their seed; they are not left out for all seeds, which would move the
best rate down as seeds are added. A best rate at the edge of the grid is not bracketed: it may lie anywhere
beyond.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.analysis.intervals import Estimate, error_of_bound
from ipcore.analysis.optimum import MIN_POINTS, drift, octave_weights, range_of_vertex, vertex
from ipcore.analysis.predicted_drift import PredictedDrift
from ipcore.analysis.samples import listed
from ipcore.analysis.slopes import MIN_WIDTHS
from ipcore.analysis.verdicts import MIN_SEEDS, Verdict
from ipcore.analysis.welch import Contrast, contrast
from ipcore.errors import AnalysisError

OCTAVE: Final = 1.0
"""Distance from the best rate that a seed's parabola covers, to both sides."""

SAME: Final = 1e-6
"""Relative difference of losses that single precision does not resolve."""

# Advice never asks for more seeds.
_MOST_SEEDS: Final = 141
# Between two rates of the grid at most so many pieces, less one new rate.
_MOST_PARTS: Final = 4

_Losses = Mapping[tuple[int, float, int], float]
_Floats = npt.NDArray[np.float64]


class NotBracketed(AnalysisError):
    """The best rate of a width lies at the edge of the grid, so there is no drift.

    Attributes:
        widths: m, ascending.
        best: The best rate of the grid at each width.
        seeds: How many.
    """

    def __init__(self, message: str, widths: Sequence[int], best: Sequence[float], seeds: int) -> None:
        super().__init__(message)
        self.widths, self.best, self.seeds = tuple(widths), tuple(best), seeds


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
    losses: _Losses,
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
    widths, rates = _axes(losses)
    seeds, left_out = _whole_seeds(losses, widths, rates)
    centres = _bracketed(losses, widths, rates, seeds)
    grid = [math.log2(rate) for rate in rates]
    parabolas = {
        seed: [
            _parabola(losses, width, rates, seed, centre)
            for width, centre in zip(widths, centres, strict=True)
        ]
        for seed in seeds
    }
    optima = {seed: tuple(vertex(*points) for points in row) for seed, row in parabolas.items()}
    ranges = np.array([[range_of_vertex(*points, grid) for points in row] for row in parabolas.values()])
    open_ = _left_open(widths, np.array(list(optima.values())), ranges)
    moved = drift(widths, optima)
    own = Estimate.of(moved)
    estimate = Estimate(own.value, own.low + open_[0], own.high + open_[1])
    verdict, why = _verdict(moved, predicted, tolerance, len(seeds), open_, ranges)
    said = "" if isinstance(predicted, str) else f", theory suggests {predicted}"
    sentence = (
        f"best rate {verdict}: drifts {estimate} octaves per doubling of the width{said} "
        f"(tolerance {tolerance:g}), widths {widths[0]}..{widths[-1]}, {len(seeds)} seeds"
    )
    return RateTransfer(
        estimate,
        tuple((2.0 ** np.mean(list(optima.values()), axis=0)).tolist()),
        widths,
        len(seeds),
        None if isinstance(predicted, str) else predicted,
        tolerance,
        verdict,
        (*left_out, *_between(widths, ranges)),
        f"{sentence}; {why}" if why else sentence,
        _ends(list(optima.values()), ranges),
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


def _ends(optima: Sequence[Sequence[float]], ranges: _Floats) -> tuple[tuple[float, float], ...]:
    """Intervals of the best rates over seeds, with what the grid leaves open."""
    if len(optima) < 2:
        return ()
    each = [Estimate.of(contrast((1.0,), [np.array(row)])) for row in zip(*optima, strict=True)]
    moves = (ranges - np.array(optima)[..., None]).mean(axis=0)
    return tuple(
        (2.0 ** (e.low + min(low, 0.0)), 2.0 ** (e.high + max(high, 0.0)))
        for e, (low, high) in zip(each, moves.tolist(), strict=True)
    )


def _axes(losses: _Losses) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Widths and rates, ascending."""
    if any(math.isfinite(loss) and loss <= 0 for loss in losses.values()):
        raise AnalysisError("losses must be > 0: the fit is of their logarithms")
    if not any(math.isfinite(loss) for loss in losses.values()):
        raise AnalysisError("no run has a final loss: all of them diverged or did not end")
    widths = tuple(sorted({width for width, _, _ in losses}))
    rates = tuple(sorted({rate for _, rate, _ in losses}))
    if len(widths) < MIN_WIDTHS or len(rates) < MIN_POINTS:
        raise AnalysisError(
            f"rate transfer needs at least {MIN_WIDTHS} widths and {MIN_POINTS} rates; there are widths "
            f"{listed(widths)} and rates {listed(rates)}"
        )
    return widths, rates


def _whole_seeds(
    losses: _Losses, widths: Sequence[int], rates: Sequence[float]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Seeds whose runs have all ended, and a sentence on the others."""
    seeds = sorted({seed for _, _, seed in losses})
    whole = tuple(
        seed for seed in seeds if all((width, rate, seed) in losses for width in widths for rate in rates)
    )
    if not whole:
        raise AnalysisError(f"no seed has ended at all rates of all widths {listed(widths)}")
    short = [seed for seed in seeds if seed not in whole]
    return whole, (f"seeds {listed(short)} are left out: not all of their runs have ended",) if short else ()


def _bracketed(
    losses: _Losses, widths: Sequence[int], rates: Sequence[float], seeds: Sequence[int]
) -> list[float]:
    """log2 of the best rate of the grid at each width.

    In the mean over seeds a diverged run counts as the worst loss measured at its width. The best rate must
    have a measured rate on both sides.
    """
    centres: list[float] = []
    edges: dict[str, list[int]] = {}
    for width in widths:
        logs = np.array([[_log(losses[width, rate, seed]) for seed in seeds] for rate in rates])
        finite = np.isfinite(logs)
        if not finite.any():
            raise AnalysisError(f"at width {width} every run diverged or has no loss; add smaller rates")
        means = np.where(finite, logs, logs[finite].max()).mean(axis=1)
        if finite.all() and means.max() - means.min() <= SAME:
            raise AnalysisError(
                f"at width {width} the loss is {math.exp(means[0]):.6g} at all rates: training has no effect "
                "at them, and none is the best; add larger rates"
            )
        # A rate at which all seeds diverge cannot be the best.
        best = int(np.argmin(np.where(finite.any(axis=1), means, np.inf)))
        if best in (0, len(rates) - 1):
            more = "smaller" if best == 0 else "larger"
            further = rates[best] * (0.5 if best == 0 else 2.0)
            advice = f"at {rates[best]:g}: add {more} rates, from {further:.3g} on"
            edges.setdefault(advice, []).append(width)
        centres.append(math.log2(rates[best]))
    if edges:
        where = "; ".join(
            f"at {'width' if len(at) == 1 else 'widths'} {', '.join(map(str, at))} ({advice})"
            for advice, at in edges.items()
        )
        raise NotBracketed(
            f"the best rate is not bracketed {where}: it lies at the edge of the grid, so there is no drift",
            widths,
            [2.0**centre for centre in centres],
            len(seeds),
        )
    return centres


def _parabola(
    losses: _Losses, width: int, rates: Sequence[float], seed: int, centre: float
) -> tuple[list[float], list[float]]:
    """log2 rate and log loss of a seed: of its rates within an octave, below the first that diverges."""
    logs: list[float] = []
    octaves: list[float] = []
    for rate in rates:
        log = _log(losses[width, rate, seed])
        if not math.isfinite(log):
            break
        logs.append(log)
        octaves.append(math.log2(rate))
    # At least three points, the nearest to the centre; more where the grid is finer.
    near = sorted(range(len(octaves)), key=lambda i: abs(octaves[i] - centre))
    used = sorted(i for n, i in enumerate(near) if n < MIN_POINTS or abs(octaves[i] - centre) <= OCTAVE)
    if len(used) < MIN_POINTS:
        raise AnalysisError(
            f"seed {seed} has {len(used)} rates below the first that diverges at width {width}, a parabola "
            f"needs {MIN_POINTS}; add smaller rates"
        )
    return [octaves[i] for i in used], [logs[i] for i in used]


def _log(loss: float) -> float:
    return math.log(loss) if math.isfinite(loss) else math.nan


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
