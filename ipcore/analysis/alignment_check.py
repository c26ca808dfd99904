"""Measured alignment: whether matrices act on vectors as the calculus says, and the regime if they do not.

The probe records log alignment ratios at every width m (Everett et al., arXiv:2407.05872). One width alone is
biased by a constant factor; the exponents are slopes over log m:

    theta    of log[ rms(Delta W x) / (rms(Delta W) rms(x)) ]               updates and their inputs
    theta'   of log[ rms(Delta W^T dh) / (rms(Delta W) rms(dh)) ]           updates, in the backward pass
    omega    of log[ rms(W_0 (x - x_0)) / (rms(W_0) rms(x - x_0)) ]         initial matrices and changes

Each is compared with the derived exponent, matrix by matrix and step by step. The first that disagrees is
where the network leaves the calculus. Theory is then applied again with the measured exponents: both ends of
their intervals over seeds, cut to [1/2, 1]; an omega that agrees has its derived value. If the verdicts of
both ends differ, the regime is "measure". [ours]
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from ipcore.analysis.coordinate_check import READOUT_TOLERANCE, Key
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fit_slope
from ipcore.analysis.verdicts import TOLERANCE, Judgement, Verdict, judge
from ipcore.errors import AnalysisError
from ipcore.theory import Alignment, Analysis, Regime, format_exponent
from ipcore.theory.derived_alignment import Bounds, derived_alignment

QUANTITY: Final = "alignment_update"
BACKWARD: Final = "alignment_backward"
CHANGE: Final = "alignment_change"
# By the metric that measures it: its row in `Alignment`, and what it is called.
EXPONENTS: Final = {
    QUANTITY: ("forward", "alignment of W^{layer}"),
    BACKWARD: ("backward", "backward alignment of W^{layer}"),
    CHANGE: ("initial", "alignment of W_0^{layer} with the change below"),
}
_KINDS: Final = {
    QUANTITY: "alignment",
    BACKWARD: "backward alignment",
    CHANGE: "alignment of the initial matrix with the change below",
}
_DIGITS: Final = 1000  # measured exponents are rounded outward to thousandths
_HALF: Final = Fraction(1, 2)
_ONE: Final = Fraction(1)
Range = tuple[float, float]
"""The least and the largest value that an exponent may have."""


@dataclass(frozen=True, slots=True)
class Theta:
    """One exponent of alignment of one matrix after some updates.

    Attributes:
        quantity: The metric that measures it, a key of `EXPONENTS`.
        layer: l, 2..L+1.
        step: Updates done.
        low: Exponent derived; a lower bound where `high` is larger.
        high: Upper bound.
        tolerance: Distance that still agrees.
        fit: The measured slope.
        verdict: "disagrees" means that the network does not follow the calculus here.
        sentence: The finding in one sentence.
    """

    quantity: str
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
        thetas: By step, then by layer: theta, theta', omega.
        notes: Exponents that could not be measured, and why.
        bounds: Lower and upper alignment measured, over all steps; () where a matrix has no exponent.
        analysis: Analysis with these bounds; None without them.
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
                f"leaves the calculus at W^{first.layer} from step {first.step}: {_KINDS[first.quantity]} "
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
    """Compare measured alignment with what the calculus derives, and apply theory again with it.

    Args:
        measured: Log alignment ratios to base m by (key of `EXPONENTS`, layer, step); others are ignored.
        analysis: Analysis of the parameterization as intended.
        analyze: Function from a lower and an upper alignment to such an analysis. It is called if theta of
            every matrix was measured; a theta' or omega that was not measured has its derived value.
        tolerance: For hidden matrices.
        readout_tolerance: For the readout.
        steps: Which are checked; None: all from 1 on.
    """
    L = analysis.parameterization.hidden_layers
    order = list(EXPONENTS)
    wanted = sorted(
        (step, layer, order.index(quantity))
        for quantity, layer, step in measured
        if quantity in EXPONENTS and layer in _layers(quantity, L) and step > 0
        if steps is None or step in steps
    )
    derived = derived_alignment(analysis, {step for step, _, _ in wanted})
    found: list[Theta] = []
    ranges: dict[str, dict[int, list[Range]]] = {quantity: {} for quantity in EXPONENTS}
    notes: list[str] = []
    for step, layer, position in wanted:
        quantity = order[position]
        row, words = EXPONENTS[quantity]
        name = f"{words.format(layer=layer)} at step {step}"
        try:
            samples = measured[quantity, layer, step]
            fit = fit_slope(_ratios(samples))
        except AnalysisError as error:
            notes.append(f"{name}: {error}")
            continue
        if gaps := samples.gaps():
            notes.append(f"{name}: {gaps}")
        here = ranges[quantity].setdefault(layer, [])
        bounds: Bounds | None = getattr(derived[step], row)[layer - 2] if step in derived else None
        if bounds is None:
            here.append((fit.slope.low, fit.slope.high))
            notes.append(f"{name}: slope {fit.slope}; not derived where something grows, or is exactly zero")
            continue
        allowed = readout_tolerance if layer == L + 1 else tolerance
        judged = _judge(fit, bounds, allowed, len(wanted))
        here.append(_range(quantity, fit, bounds, judged.verdict))
        sentence = (
            f"{name} {judged.verdict}: slope {fit.slope}, derived {_derived(*bounds)} "
            f"(tolerance {allowed:g}), {fit.data}"
        )
        sentence = f"{sentence}; {judged.why}" if judged.why else sentence
        found.append(Theta(quantity, layer, step, *bounds, allowed, fit, judged.verdict, sentence))
    missing = [layer for layer in _layers(QUANTITY, L) if layer not in ranges[QUANTITY]]
    if missing and wanted:
        names = ", ".join(f"W^{layer}" for layer in missing[:6]) + (" and more" if len(missing) > 6 else "")
        notes.append(f"theory is not applied with the measured alignment: there is none of {names}")
    given = () if missing else measured_bounds(L, ranges)
    return AlignmentReport(tuple(found), tuple(notes), given, analyze(given) if given else None)


def _layers(quantity: str, hidden_layers: int) -> range:
    """The matrices that have an exponent; there is no backward alignment at the readout."""
    return range(2, hidden_layers + (1 if quantity == BACKWARD else 2))


def _range(quantity: str, fit: Slope, bounds: Bounds, verdict: Verdict) -> Range:
    """The interval with which theory is applied: the measured one; for omega also the derived value.

    theta is cut at 1, which is mostly the derived value. The derived omega of hidden matrices is the least
    possible, 1/2, so finite widths show more; taken literally, .51 makes a matrix enlarge every change. So an
    omega that agrees is taken as derived, and where it is undecided both are possible.
    """
    measured = fit.slope.low, fit.slope.high
    if quantity != CHANGE or verdict is Verdict.DISAGREES:
        return measured
    low, high = (float(end) for end in bounds)
    if verdict is Verdict.AGREES:
        return low, high
    return min(low, measured[0]), max(high, measured[1])


def measured_bounds(
    hidden_layers: int, ranges: Mapping[str, Mapping[int, list[Range]]]
) -> tuple[Alignment, Alignment]:
    """Lower and upper alignment: the ends of all ranges, cut to [1/2, 1].

    Args:
        hidden_layers: L.
        ranges: By key of `EXPONENTS` and layer, each at one or more steps; theta of every matrix. A row of
            which a matrix is missing is taken as the calculus has it.
    """
    low: dict[str, list[Fraction]] = {}
    high: dict[str, list[Fraction]] = {}
    for quantity, (row, _) in EXPONENTS.items():
        layers = _layers(quantity, hidden_layers)
        of_layer = [ranges.get(quantity, {}).get(layer, []) for layer in layers]
        if all(of_layer):
            low[row] = [_cut(min(known)[0], math.floor) for known in of_layer]
            high[row] = [_cut(max(end for _, end in known), math.ceil) for known in of_layer]
    return Alignment.of(hidden_layers, **low), Alignment.of(hidden_layers, **high)


def _cut(value: float, rounded: Callable[[float], int]) -> Fraction:
    inside = min(1.0, max(0.5, value))  # with one seed intervals are infinite
    return min(_ONE, max(_HALF, Fraction(rounded(inside * _DIGITS), _DIGITS)))


def _ratios(samples: Samples) -> Samples:
    """m^A: the ratio of sizes itself."""
    widths = np.array(samples.widths, np.float64)[:, None]
    return Samples(samples.widths, samples.seeds, widths**samples.values)


def _judge(fit: Slope, bounds: Bounds, tolerance: float, numbers: int) -> Judgement:
    """Judge against one exponent as any slope (a ratio hides no terms), else against two bounds."""
    low, high = bounds
    against = functools.partial(judge, fit, tolerance=tolerance, one_term=True, numbers=numbers)
    if low == high:
        return against(low)
    beyond = low if fit.contrast.value < low else high if fit.contrast.value > high else None
    if beyond is not None and (judged := against(beyond)).verdict is Verdict.DISAGREES:
        return judged
    return Judgement(Verdict.UNDECIDED, "theory bounds it only")


def _derived(low: Fraction, high: Fraction) -> str:
    return format_exponent(low) if low == high else f"{format_exponent(low)} .. {format_exponent(high)}"
