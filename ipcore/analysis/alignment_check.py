"""Measured alignment: whether updates act on their inputs as the calculus says, and what follows if not.

The probe records the log alignment ratio of an update and its input at every width m (Everett et al.,
arXiv:2407.05872). One width alone is biased by a constant factor; the exponent is

    theta = slope over log m of log[ rms(Delta W x) / (rms(Delta W) rms(x)) ]

which is compared with the derived exponent, matrix by matrix and step by step. The first that disagrees is
where the network leaves the calculus. Theory is then applied again with the measured exponents: both ends of
their intervals over seeds, cut to [1/2, 1]. If the verdicts differ, the verdict is "measure". [ours]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from ipcore.analysis.coordinate_check import READOUT_TOLERANCE, Key, counted
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fit_slope
from ipcore.analysis.verdicts import TOLERANCE, Judgement, Verdict, judge
from ipcore.errors import AnalysisError
from ipcore.theory import Alignment, Analysis, Regime, format_exponent
from ipcore.theory.derived_alignment import Bounds, derived_alignment

QUANTITY: Final = "alignment_update"
_DIGITS: Final = 1000  # measured exponents are rounded outward to thousandths
_HALF: Final = Fraction(1, 2)
_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class Theta:
    """The alignment of one matrix's updates with its input after some updates.

    Attributes:
        layer: l, 2..L+1.
        step: Updates done.
        low: Exponent derived; a lower bound where `high` is larger.
        high: Upper bound.
        tolerance: Distance that still agrees.
        fit: What was measured.
        verdict: Disagrees: here the network does not follow the calculus.
        sentence: All of it in words.
    """

    layer: int
    step: int
    low: Fraction
    high: Fraction
    tolerance: float
    fit: Slope
    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class AlignmentReport:
    """All measured exponents of alignment of one parameterization.

    Attributes:
        thetas: By step, then by layer.
        notes: What could not be measured, and why.
        bounds: Lower and upper alignment measured, over all steps; () where a matrix has no exponent.
        analysis: What theory says with these bounds; None without them.
    """

    thetas: tuple[Theta, ...]
    notes: tuple[str, ...]
    bounds: tuple[Alignment, ...]
    analysis: Analysis | None

    @property
    def first(self) -> Theta | None:
        """The earliest step, and there the lowest layer, that leaves the calculus."""
        return next((theta for theta in self.thetas if theta.verdict is Verdict.DISAGREES), None)

    @property
    def verdict(self) -> Verdict:
        """Disagrees if anything does; agrees if everything does."""
        if self.first is not None:
            return Verdict.DISAGREES
        known = {theta.verdict for theta in self.thetas}
        return Verdict.AGREES if known == {Verdict.AGREES} else Verdict.UNDECIDED

    @property
    def conclusion(self) -> str:
        """One sentence: where the network leaves the calculus, and the regime with measured alignment."""
        agreeing = sum(theta.verdict is Verdict.AGREES for theta in self.thetas)
        if not self.thetas:
            return "no exponent of alignment could be measured"
        if (first := self.first) is not None:
            text = (
                f"leaves the calculus at W^{first.layer} from step {first.step}: alignment "
                f"{first.fit.slope}, derived {_derived(first.low, first.high)}"
            )
        elif agreeing == len(self.thetas):
            text = f"follows the calculus: all {agreeing} exponents of alignment agree"
        else:
            text = (
                f"is not seen to leave the calculus: {agreeing} of {len(self.thetas)} exponents of alignment "
                "agree, the others are undecided"
            )
        if self.analysis is None:
            return text
        regime = self.analysis.regime
        why = f" ({self.analysis.reason})" if regime is Regime.MEASURE else ""
        return f"{text}; theory with the measured alignment: {regime.replace('_', ' ')}{why}"


def check_alignment(
    measured: Mapping[Key, Samples],
    analysis: Analysis,
    analyze: Callable[[tuple[Alignment, ...]], Analysis],
    *,
    tolerance: float = TOLERANCE,
    readout_tolerance: float = READOUT_TOLERANCE,
    steps: Collection[int] | None = None,
) -> AlignmentReport:
    """Hold measured alignment against what the calculus derives, and ask theory again with it.

    Args:
        measured: Log alignment ratios to base m by ("alignment_update", layer, step); others are ignored.
        analysis: Of the parameterization as intended.
        analyze: The same with a lower and an upper alignment. Only theta is measured: backward alignment and
            that of initial matrices are as the calculus has them.
        tolerance: For hidden matrices.
        readout_tolerance: For the readout.
        steps: Which are checked; None: all from 1 on.
    """
    L = analysis.parameterization.hidden_layers
    wanted = sorted(
        (step, layer)
        for quantity, layer, step in measured
        if quantity == QUANTITY and 2 <= layer <= L + 1 and step > 0 and (steps is None or step in steps)
    )
    derived = derived_alignment(analysis, {step for step, _ in wanted})
    found: list[Theta] = []
    fits: dict[int, list[Slope]] = {}
    notes: list[str] = []
    for step, layer in wanted:
        name = f"alignment of W^{layer} at step {step}"
        try:
            samples = measured[QUANTITY, layer, step].paired()
            fit = fit_slope(_ratios(samples))
        except AnalysisError as error:
            notes.append(f"{name}: {error}")
            continue
        if left_out := measured[QUANTITY, layer, step].left_out(samples):
            notes.append(f"{name}: {left_out}")
        fits.setdefault(layer, []).append(fit)
        bounds = derived[step][layer - 2] if step in derived else None
        if bounds is None:
            notes.append(f"{name}: slope {fit.slope}; not derived where something grows, or is exactly zero")
            continue
        allowed = readout_tolerance if layer == L + 1 else tolerance
        judged = _judge(fit, bounds, allowed)
        sentence = (
            f"{name} {judged.verdict}: slope {fit.slope}, derived {_derived(*bounds)} "
            f"(tolerance {allowed:g}), widths {fit.widths[0]}..{fit.widths[-1]}, {counted(fit.seeds, 'seed')}"
        )
        sentence = f"{sentence}; {judged.why}" if judged.why else sentence
        found.append(Theta(layer, step, *bounds, allowed, fit, judged.verdict, sentence))
    missing = [layer for layer in range(2, L + 2) if layer not in fits]
    if missing and wanted:
        names = ", ".join(f"W^{layer}" for layer in missing[:6]) + (" and more" if len(missing) > 6 else "")
        notes.append(f"theory is not applied with the measured alignment: there is none of {names}")
    given = () if missing else measured_bounds([fits[layer] for layer in range(2, L + 2)])
    return AlignmentReport(tuple(found), tuple(notes), given, analyze(given) if given else None)


def measured_bounds(fits: list[list[Slope]]) -> tuple[Alignment, ...]:
    """Lower and upper alignment: the ends of all intervals, cut to [1/2, 1].

    Args:
        fits: For W^2..W^{L+1}, each at one or more steps.
    """
    L = len(fits)
    low = [_cut(min(fit.slope.low for fit in of_layer), math.floor) for of_layer in fits]
    high = [_cut(max(fit.slope.high for fit in of_layer), math.ceil) for of_layer in fits]
    return Alignment.of(L, forward=low), Alignment.of(L, forward=high)


def _cut(value: float, rounded: Callable[[float], int]) -> Fraction:
    inside = min(1.0, max(0.5, value))  # with one seed intervals are infinite
    return min(_ONE, max(_HALF, Fraction(rounded(inside * _DIGITS), _DIGITS)))


def _ratios(samples: Samples) -> Samples:
    """m^A: the ratio of sizes itself."""
    widths = np.array(samples.widths, np.float64)[:, None]
    return Samples(samples.widths, samples.seeds, widths**samples.values)


def _judge(fit: Slope, bounds: Bounds, tolerance: float) -> Judgement:
    """Against one exponent as every slope (a ratio is no sum that hides terms); else against two bounds."""
    low, high = bounds
    if low == high:
        return judge(fit, low, tolerance=tolerance, one_term=True)
    if fit.slope.high < float(low) - tolerance:
        return judge(fit, low, tolerance=tolerance, one_term=True)
    if fit.slope.low > float(high) + tolerance:
        return judge(fit, high, tolerance=tolerance, one_term=True)
    return Judgement(Verdict.UNDECIDED, "theory bounds it only")


def _derived(low: Fraction, high: Fraction) -> str:
    return format_exponent(low) if low == high else f"{format_exponent(low)} .. {format_exponent(high)}"
