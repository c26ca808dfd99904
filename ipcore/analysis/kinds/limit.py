"""How infinite a network is: its final test loss beside that of infinite width, seed by seed.

A limit belongs to a sequence of batches, so each network is compared with the limit of its own seed. Relative
to the root mean square of the limits' losses, over seeds:

    D^2 = mean of (loss_m - loss_inf)^2,   V = variance of the difference,   b^2 = its squared mean - V / S

D falls like m^(-1/2) where V ~ 1/m leads. What the particles add to it is not known for a loss: their error
of f is stated beside it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np

from ipcore.analysis.case import Case, Kind, Run
from ipcore.analysis.limit_distance import LimitDistance, NeededWidth, WidthDistance, fit_distances
from ipcore.analysis.report import Check, Report, WidthValue, finite
from ipcore.analysis.verdicts import MIN_SEEDS, Verdict
from ipcore.errors import AnalysisError

_NAME: Final = "LIMIT"
_PREDICTED: Final = Fraction(-1, 2)
# Distances for which a width is stated.
_NEEDED: Final = (0.05, 0.01)
# A line that leads to wider networks than these says only that it hardly falls.
_BEYOND: Final = 1e9


def _find(case: Case) -> Report:
    limits = {run.seed: run for run in case.limits if run.final_test_loss is not None}
    losses: dict[int, list[tuple[float, float]]] = {}
    for run in case.runs:
        if run.seed in limits and run.final_test_loss is not None and not run.diverged:
            losses.setdefault(run.width, []).append((run.final_test_loss, _loss(limits[run.seed])))
    if not limits or not losses:
        return Report(
            notes=("distance to the limit: no seed has ended both at infinite width and at others",)
        )
    try:
        found = _distances(losses)
    except AnalysisError as error:
        return Report(notes=(f"distance to the limit: {error}",))
    verdict = _verdict(found, case.tolerance)
    check = Check(
        kind=_NAME,
        subject=case.subject,
        slope=found.slope.value,
        low=finite(found.slope.low),
        high=finite(found.slope.high),
        verdict=verdict,
        sentence=_sentence(found, verdict, [run.limit_error for run in limits.values() if run.limit_error]),
        points=tuple(
            WidthValue(w.width, w.distance.value, finite(w.distance.low), finite(w.distance.high))
            for w in found.widths
        ),
        seeds=min(w.seeds for w in found.widths),
        predicted=_PREDICTED,
        tolerance=case.tolerance,
    )
    return Report((check,))


def _loss(run: Run) -> float:
    return math.nan if run.final_test_loss is None else run.final_test_loss


def _distances(losses: dict[int, list[tuple[float, float]]]) -> LimitDistance:
    every = np.array([limit for pairs in losses.values() for _, limit in pairs])
    unit = float((every**2).mean())
    if not unit > 0:
        raise AnalysisError("the losses at infinite width are 0: a relative distance means nothing there")
    squares, parts = {}, {}
    for width, pairs in losses.items():
        off = np.array([finite_loss - limit for finite_loss, limit in pairs])
        if len(off) < 2:
            raise AnalysisError(f"width {width} has one seed beside its limit; needs at least 2")
        variance = float(off.var(ddof=1)) / unit
        squares[width] = off**2 / unit
        parts[width] = variance, float(off.mean()) ** 2 / unit - variance / len(off)
    return fit_distances(squares, parts, own=0.0, needed=_NEEDED)


def _verdict(found: LimitDistance, tolerance: float) -> Verdict:
    """Agrees if the slope's interval lies within the tolerance; disagrees if it does not even reach it."""
    low, high = found.slope.low, found.slope.high
    least, most = float(_PREDICTED) - tolerance, float(_PREDICTED) + tolerance
    if least <= low and high <= most and min(w.seeds for w in found.widths) >= MIN_SEEDS:
        return Verdict.AGREES
    return Verdict.DISAGREES if low > most else Verdict.UNDECIDED


def _sentence(found: LimitDistance, verdict: Verdict, errors: list[float]) -> str:
    last: WidthDistance = found.widths[-1]
    bias = min(1.0, max(0.0, last.bias) / last.distance.value**2)
    said = [
        f"at width {last.width:,} the final test loss is {_percent(last.distance.value)} "
        f"[{_percent(last.distance.low)}, {_percent(last.distance.high)}] from that of infinite width, "
        f"{_percent(bias)} of its square is bias and the rest variance over seeds",
        f"it falls like m to the power {found.slope} (theory: -1/2: {verdict})",
        *(_reached(needed, falls=found.slope.high < 0) for needed in found.needed),
    ]
    if errors:
        said.append(f"the particles' own error of f is {_percent(max(errors))}")
    return "; ".join(said)


def _reached(needed: NeededWidth, *, falls: bool) -> str:
    if not falls or needed.width.value > _BEYOND:
        return f"no width is known at which it is {_percent(needed.distance)}, since it may not fall"
    how = " (extrapolated)" if needed.extrapolated else ""
    ends = f"[{needed.width.low:,.0f}, {needed.width.high:,.0f}]"
    return f"{_percent(needed.distance)} is reached at width m* = {needed.width.value:,.0f} {ends}{how}"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %" if part >= 0.1 else f"{100 * part:.2g} %"


LIMIT: Final = Kind(_NAME, applies=lambda case: bool(case.limits), find=_find)
