"""Rate transfer: how far the best base learning rate moves as the width doubles.

The best rate of each width is the vertex of a parabola through log loss against log2 rate at the best grid
point and its two neighbours; its drift is the slope of log2 of it against log2 width, in octaves per doubling
(Yang et al., arXiv:2203.03466, figure 1: about 0 for muP, downward for standard parameterization).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ipcore import theory
from ipcore.analysis.resampling import Estimate, estimate, resamples
from ipcore.analysis.samples import listed
from ipcore.analysis.slopes import MIN_WIDTHS
from ipcore.analysis.verdicts import MIN_SEEDS, Verdict
from ipcore.errors import AnalysisError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RateTransfer:
    """The drift of the best rate.

    Attributes:
        drift: Octaves per doubling of the width.
        best: The best rate of each width, from the seeds' mean log loss.
        widths: m, ascending.
        seeds: How many.
        predicted: Drift that theory suggests, or None.
        tolerance: Of the verdict, octaves per doubling.
        verdict: Undecided without a prediction, or where a best rate lies at the grid's edge.
        warnings: Best rates at the grid's edge, or beside rates at which runs diverge (known to a gap of the
            grid only, which widens the interval).
        sentence: All of it in words.
    """

    drift: Estimate
    best: tuple[float, ...]
    widths: tuple[int, ...]
    seeds: int
    predicted: Fraction | None
    tolerance: float
    verdict: Verdict
    warnings: tuple[str, ...]
    sentence: str


def check_rate_transfer(
    losses: Mapping[tuple[int, float, int], float],
    predicted: Fraction | None = None,
    *,
    tolerance: float = 0.25,
) -> RateTransfer:
    """Find the best rate of every width, and its drift.

    Args:
        losses: Final loss > 0 by (width, rate, seed). A run that diverged or has not ended has none.
        predicted: Drift to hold it against (`predicted_drift`).
        tolerance: Octaves per doubling.

    Raises:
        AnalysisError: Fewer than three widths or rates, losses that are not positive, or a width at
            which some run diverged at every rate.
    """
    widths, rates, seeds, logs = _table(losses)
    x = np.log2(np.array(widths, np.float64))
    centred = x - x.mean()
    line = centred / (centred @ centred)
    octaves = np.log2(np.array(rates))
    # A rate counts at a width only if no seed diverged there: a mean over survivors would flatter it.
    usable = np.asarray(np.isfinite(logs).all(axis=2), np.bool_)
    if bad := [width for width, good in zip(widths, usable, strict=True) if not good.any()]:
        raise AnalysisError(
            f"at widths {listed(bad)} every rate has a run that diverged or has no loss; add rates"
        )
    filled = np.where(usable[:, :, None], logs, np.inf)
    means = filled.mean(axis=2)
    found = [_optimum(row, octaves) for row in means]
    optima = np.array([optimum.place for optimum in found])
    warnings = [f"width {m}: {o.warning}" for m, o in zip(widths, found, strict=True) if o.warning]
    drawn = _drawn_optima(filled, usable, octaves, resamples(len(seeds)))
    drift = estimate(float(line @ optima), line @ drawn, len(seeds))
    slack = max(optimum.slack for optimum in found) / float(x[-1] - x[0])
    drift = Estimate(drift.value, drift.low - slack, drift.high + slack)
    edge = any(optimum.edge for optimum in found)
    verdict, why = _verdict(drift, predicted, tolerance, len(seeds), edge)
    said = "" if predicted is None else f", theory suggests {theory.format_exponent(predicted)}"
    sentence = (
        f"best rate {verdict}: drifts {drift} octaves per doubling of the width{said} "
        f"(tolerance {tolerance:g}), widths {widths[0]}..{widths[-1]}, {len(seeds)} seeds"
    )
    return RateTransfer(
        drift,
        tuple((2.0**optima).tolist()),
        widths,
        len(seeds),
        predicted,
        tolerance,
        verdict,
        tuple(warnings),
        f"{sentence}; {why}" if why else sentence,
    )


def predicted_drift(analysis: theory.Analysis) -> Fraction | None:
    """The drift at which a base rate keeps the largest update that is stable, in octaves per doubling.

    With exponents c against the largest stable c* of the same (a, b), the rate eta m^{-c_l} stays within
    m^{-c*_l} in every layer if eta = m^{-max_l(c*_l - c_l)}: 0 for muP and NTK, -1 for standard
    parameterization with one rate. [ours] None where the rates change after step 0 or theory finds none.

    >>> from ipcore.theory import analyze, preset
    >>> [str(predicted_drift(analyze(preset(name, 3)))) for name in ("mup", "ntk", "sp")]
    ['0', '0', '-1']
    """
    p = analysis.parameterization
    try:
        largest = theory.complete(
            p.a,
            p.b,
            optimizer=analysis.optimizer,
            activation=analysis.activation,
            loss=analysis.loss,
            biases=p.biases,
            mean=p.mean,
            reweightings=p.reweightings,
        )
    except theory.TheoryError:
        return None
    phases = largest.parameterization.phases
    if not largest.maximal or len(phases) > 1 or len(p.phases) > 1:
        return None
    return -max(best - own for best, own in zip(phases[0].c, p.phases[0].c, strict=True))


def _table(
    losses: Mapping[tuple[int, float, int], float],
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[int, ...], Floats]:
    """Widths, rates, seeds and log losses [widths, rates, seeds]; NaN where there is none."""
    if any(math.isfinite(loss) and loss <= 0 for loss in losses.values()):
        raise AnalysisError("losses must be > 0: the fit is of their logarithms")
    finite = {key: loss for key, loss in losses.items() if math.isfinite(loss)}
    if not finite:
        raise AnalysisError("no run has a final loss: all of them diverged or did not end")
    widths = tuple(sorted({width for width, _, _ in losses}))
    rates = tuple(sorted({rate for _, rate, _ in losses}))
    seeds = tuple(sorted({seed for _, _, seed in losses}))
    if len(widths) < MIN_WIDTHS or len(rates) < 3:
        raise AnalysisError(
            f"rate transfer needs at least {MIN_WIDTHS} widths and 3 rates; there are widths "
            f"{listed(widths)} and rates {listed(rates)}"
        )
    logs = [
        [[math.log(finite.get((width, rate, seed), math.nan)) for seed in seeds] for rate in rates]
        for width in widths
    ]
    return widths, rates, seeds, np.array(logs, np.float64)


@dataclass(frozen=True, slots=True)
class _Optimum:
    """log2 of a best rate, by how many octaves it may be off for want of a parabola, and why that is."""

    place: float
    slack: float = 0.0
    edge: bool = False
    warning: str = ""


def _optimum(means: Floats, octaves: Floats) -> _Optimum:
    best = int(np.argmin(means))
    rate = f"the best rate {2.0 ** octaves[best]:g}"
    if best in (0, len(octaves) - 1):
        more = "smaller" if best == 0 else "larger"
        return _Optimum(
            float(octaves[best]), edge=True, warning=f"{rate} is at the grid's edge; add {more} rates"
        )
    near = means[best - 1 : best + 2]
    if not np.isfinite(near).all():
        slack = float(np.diff(octaves[best - 1 : best + 2]).max())
        warning = f"{rate} lies beside one at which runs diverged or have no loss; refine the grid there"
        return _Optimum(float(octaves[best]), slack, warning=warning)
    return _Optimum(float(_vertex(octaves[best - 1 : best + 2], near)))


def _vertex(x: Floats, y: Floats) -> Floats:
    """Minimum of the parabola through three points, [3, ...] each, of which the middle one is lowest."""
    left, right = (y[0] - y[1]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    # The slope falls linearly from -left in the middle of the left gap to +right in that of the right gap.
    middle_left, middle_right = (x[0] + x[1]) / 2, (x[1] + x[2]) / 2
    total = left + right
    flat = total <= 0  # all three are equal
    share = np.where(flat, 0.0, left) / np.where(flat, 1.0, total)
    return np.asarray(np.where(flat, x[1], middle_left + (middle_right - middle_left) * share), np.float64)


def _drawn_optima(filled: Floats, usable: npt.NDArray[np.bool_], octaves: Floats, weights: Floats) -> Floats:
    """log2 of the best rate of every width and draw as `_optimum` has it, [widths, draws]."""
    places = []
    for logs, good in zip(filled, usable, strict=True):
        means = np.full((len(octaves), len(weights)), np.inf)
        means[good] = logs[good] @ weights.T
        best = means.argmin(axis=0)
        near = np.clip(best, 1, len(octaves) - 2) + np.arange(-1, 2)[:, None]
        y = np.take_along_axis(means, near, axis=0)
        parabola = (near[1] == best) & np.isfinite(y).all(axis=0)
        vertex = _vertex(octaves[near], np.where(parabola, y, 0.0))
        places.append(np.where(parabola, vertex, octaves[best]))
    return np.array(places, np.float64)


def _verdict(
    drift: Estimate, predicted: Fraction | None, tolerance: float, seeds: int, edge: bool
) -> tuple[Verdict, str]:
    if predicted is None:
        return Verdict.UNDECIDED, "theory makes no prediction for it"
    if edge:
        return Verdict.UNDECIDED, "the grid of rates does not hold the best one at every width"
    if seeds < MIN_SEEDS:
        return Verdict.UNDECIDED, f"fewer than {MIN_SEEDS} seeds"
    low, high = float(predicted) - tolerance, float(predicted) + tolerance
    if low <= drift.low and drift.high <= high:
        return Verdict.AGREES, ""
    if drift.high < low or drift.low > high:
        return Verdict.DISAGREES, ""
    return Verdict.UNDECIDED, "the interval is too wide; add seeds, rates or widths"
