"""Rate transfer: how far the best base learning rate moves as the width doubles.

The best rate of each width is the vertex of a parabola through log loss against log2 rate at the best grid
point and its two neighbours; its drift is the slope of log2 of it against log2 width, in octaves per doubling
(Yang et al., arXiv:2203.03466, figure 1: about 0 for muP, downward for standard parameterization).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
class PredictedDrift:
    """How far the best rate moves, in octaves per doubling of the width.

    Attributes:
        low: Drift of the largest rate that is stable, delta*.
        high: Drift of the largest at which no hidden layer grows, delta_c: between them only the output
            grows, which training survives where the loss has bounded derivatives. Equal to `low` otherwise.
    """

    low: Fraction
    high: Fraction

    def __str__(self) -> str:
        low, high = theory.format_exponent(self.low), theory.format_exponent(self.high)
        return low if low == high else f"{low} .. {high}"


@dataclass(frozen=True, slots=True)
class RateTransfer:
    """The drift of the best rate.

    Attributes:
        drift: Octaves per doubling of the width; NaN where the best rate of a width is not bracketed.
        best: The best rate of each width, from the seeds' mean log loss; one of the grid's ends where it is
            not bracketed.
        widths: m, ascending.
        seeds: How many.
        predicted: Drift that theory predicts, or None.
        tolerance: Of the verdict, octaves per doubling.
        verdict: Not bracketed where a best rate lies at the grid's edge; undecided without a prediction.
        warnings: Best rates beside rates at which runs diverge (known to a gap of the grid only, which widens
            the interval).
        sentence: All of it in words.
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
    losses: Mapping[tuple[int, float, int], float],
    predicted: PredictedDrift | str = "theory makes no prediction for it",
    *,
    tolerance: float = 0.25,
) -> RateTransfer:
    """Find the best rate of every width, and its drift.

    Args:
        losses: Final loss > 0 by (width, rate, seed). A run that diverged or has not ended has none.
        predicted: Drift to hold it against, or why there is none (`predicted_drift`).
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
    said = "" if isinstance(predicted, str) else f", theory suggests {predicted}"
    over = f"widths {widths[0]}..{widths[-1]}, {len(seeds)} seeds"
    if edges := _edges(widths, found, octaves):
        return RateTransfer(
            Estimate(math.nan, math.nan, math.nan),
            tuple((2.0**optima).tolist()),
            widths,
            len(seeds),
            None if isinstance(predicted, str) else predicted,
            tolerance,
            Verdict.NOT_BRACKETED,
            (),
            f"best rate not bracketed, so no drift is measured{said}: {edges} ({over})",
        )
    warnings = [f"width {m}: {o.warning}" for m, o in zip(widths, found, strict=True) if o.warning]
    drawn = _drawn_optima(filled, usable, octaves, resamples(len(seeds)))
    drift = estimate(float(line @ optima), line @ drawn, len(seeds))
    slack = max(optimum.slack for optimum in found) / float(x[-1] - x[0])
    drift = Estimate(drift.value, drift.low - slack, drift.high + slack)
    verdict, why = _verdict(drift, predicted, tolerance, len(seeds))
    sentence = (
        f"best rate {verdict}: drifts {drift} octaves per doubling of the width{said} "
        f"(tolerance {tolerance:g}), {over}"
    )
    return RateTransfer(
        drift,
        tuple((2.0**optima).tolist()),
        widths,
        len(seeds),
        None if isinstance(predicted, str) else predicted,
        tolerance,
        verdict,
        tuple(warnings),
        f"{sentence}; {why}" if why else sentence,
        _ends(found, drawn, len(seeds)),
    )


def _ends(found: Sequence[_Optimum], drawn: Floats, seeds: int) -> tuple[tuple[float, float], ...]:
    """Intervals of the best rates over seeds, widened where a rate is known to a gap of the grid only."""
    if seeds < 2:
        return ()
    each = [estimate(o.place, row, seeds) for o, row in zip(found, drawn, strict=True)]
    return tuple(
        (2.0 ** (e.low - o.slack), 2.0 ** (e.high + o.slack)) for e, o in zip(each, found, strict=True)
    )


def predicted_drift(analysis: theory.Analysis, *, calibrated: bool = False) -> PredictedDrift | str:
    """The drift of the largest stable base rate, or why theory predicts none.

    [ours, docs/theory.md, section 4] Rates that change after step 0 are all multiplied by the base rate.
    Between m^{delta*} and m^{delta_c} training goes on under losses with bounded derivatives, so
    the best rate may be anywhere between. A trivial parameterization is trained best far above its own rates,
    where the number of steps decides: no prediction.

    Args:
        analysis: Of what was trained.
        calibrated: Whether its first rates were calibrated; that of layer 1 alone follows the base rate then.

    >>> from ipcore.theory import analyze, preset
    >>> [str(predicted_drift(analyze(preset(name, 3)))) for name in ("mup", "ntk", "sp", "ip-llr")]
    ['0', '0 .. 1/2', '-1 .. -1/2', '0']
    """
    found = theory.largest_rate_of(analysis, calibrated=calibrated)
    if isinstance(found, str):
        return found
    if found.stable is None or found.controlled is None:
        return f"theory makes no prediction: {found.summary}"
    if not found.exact:
        return (
            f"theory makes no prediction: alignment leaves open whether rates above m^({found.stable}) grow"
        )
    if analysis.regime is theory.Regime.TRIVIAL:
        return (
            "theory makes no prediction: at these rates the output does not move; rates up to "
            f"m^({found.stable}) are stable for ever, and larger ones for a number of steps"
        )
    return PredictedDrift(found.stable, found.controlled)


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
    edge: int = 0  # -1: the smallest rate of the grid, 1: the largest
    warning: str = ""


def _optimum(means: Floats, octaves: Floats) -> _Optimum:
    best = int(np.argmin(means))
    rate = f"the best rate {2.0 ** octaves[best]:.6g}"
    if best in (0, len(octaves) - 1):
        return _Optimum(float(octaves[best]), edge=-1 if best == 0 else 1)
    near = means[best - 1 : best + 2]
    if not np.isfinite(near).all():
        slack = float(np.diff(octaves[best - 1 : best + 2]).max())
        warning = f"{rate} lies beside one at which runs diverged or have no loss; refine the grid there"
        return _Optimum(float(octaves[best]), slack, warning=warning)
    return _Optimum(float(_vertex(octaves[best - 1 : best + 2], near)))


def _edges(widths: Sequence[int], found: Sequence[_Optimum], octaves: Floats) -> str:
    """At which widths the best rate lies at which end of the grid, and which rates to add; "" at none."""
    said = []
    for edge, name, end in ((-1, "smallest", octaves[0]), (1, "largest", octaves[-1])):
        at = [width for width, optimum in zip(widths, found, strict=True) if optimum.edge == edge]
        if at:
            further = " and ".join(f"{2.0 ** (end + edge * step):.3g}" for step in (1, 2))
            where = "every width" if len(at) == len(widths) else f"width{'s' * (len(at) > 1)} {listed(at)}"
            said.append(f"at {where} the {name} rate of the grid, {2.0**end:.6g}, is best; add {further}")
    return "; ".join(said)


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
    drift: Estimate, predicted: PredictedDrift | str, tolerance: float, seeds: int
) -> tuple[Verdict, str]:
    if isinstance(predicted, str):
        return Verdict.UNDECIDED, predicted
    if seeds < MIN_SEEDS:
        return Verdict.UNDECIDED, f"fewer than {MIN_SEEDS} seeds"
    low, high = float(predicted.low) - tolerance, float(predicted.high) + tolerance
    if low <= drift.low and drift.high <= high:
        return Verdict.AGREES, ""
    if drift.high < low or drift.low > high:
        return Verdict.DISAGREES, ""
    return Verdict.UNDECIDED, "the interval is too wide; add seeds, rates or widths"
