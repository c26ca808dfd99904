"""The best rate of every seed at every width, from the final losses of a grid of rates.

It is the vertex of the least-squares parabola through a seed's log losses against log2 rate, around the best
rate of the width (`ipcore.analysis.optimum`). Rates at which runs diverge end the parabola of their seed.
They are not left out for all seeds, which would move the best rate down as seeds are added. A best rate at
the edge of the grid is not bracketed: it may lie anywhere beyond.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.analysis.optimum import MIN_POINTS, range_of_vertex, vertex
from ipcore.analysis.samples import listed
from ipcore.analysis.slopes import MIN_WIDTHS
from ipcore.errors import AnalysisError

OCTAVE: Final = 1.0
"""Distance from the best rate that a seed's parabola covers, to both sides."""

SAME: Final = 1e-6
"""Relative difference of losses that single precision does not resolve."""

Losses = Mapping[tuple[int, float, int], float]
"""Final loss by (width, rate, seed)."""


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


@dataclass(frozen=True, eq=False, slots=True)
class BestRates:
    """The best rate of every seed at every width.

    Attributes:
        widths: m, ascending.
        optima: u* = log2 of the best rate, by seed, in the order of widths.
        ranges: Interval in which the grid leaves each u*, (seeds, widths, 2).
        left_out: A sentence on the seeds that were left out, if any.
    """

    widths: tuple[int, ...]
    optima: Mapping[int, tuple[float, ...]]
    ranges: npt.NDArray[np.float64]
    left_out: tuple[str, ...]


def best_rates(losses: Losses) -> BestRates:
    """Find them.

    Args:
        losses: Final loss > 0; NaN or infinite of a run that diverged. A run that has not ended has none.

    Raises:
        AnalysisError: Fewer than three widths or rates, losses that are not positive, a width at which the
            best rate lies at the edge of the grid, or seeds with less than three rates below the first that
            diverges.
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
    return BestRates(widths, optima, ranges, left_out)


def _axes(losses: Losses) -> tuple[tuple[int, ...], tuple[float, ...]]:
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
    losses: Losses, widths: Sequence[int], rates: Sequence[float]
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
    losses: Losses, widths: Sequence[int], rates: Sequence[float], seeds: Sequence[int]
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
    losses: Losses, width: int, rates: Sequence[float], seed: int, centre: float
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
