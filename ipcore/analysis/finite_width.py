"""Expected changes at the measured widths, where the exponents do not show yet.

A change is the sum of parts with powers of their own (`ipcore.theory.parts`). With the sizes of the parts at
one width, theory's exponents give the change at every other: a curve whose only free constant is its height.
If theory is right, the measured change divided by this curve has slope 0, whether or not the leading part
dominates at these widths. So the rule of `ipcore.analysis.verdicts` distinguishes "not yet" from "disagrees".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import fit_slope
from ipcore.analysis.verdicts import Judgement, Verdict, judge
from ipcore.analysis.widths import width_text
from ipcore.errors import AnalysisError
from ipcore.theory import (
    Analysis,
    ExpectedChange,
    LayerParts,
    MeasuredParts,
    TheoryError,
    expected_changes,
    fitted_slope,
    parts_of,
)
from ipcore.theory.exponents import power

_ZERO: Final = Fraction(0)
_ALL: Final = 0.98  # a part with more than this share of the square is described as the whole
_MATERIAL: Final = 0.05  # slopes that are mentioned

Measured = Mapping[tuple[str, int, int], Samples]
"""By (quantity, layer, step)."""


@dataclass(frozen=True, slots=True)
class FiniteWidth:
    """Expected changes after some updates, layer by layer.

    Attributes:
        step: Updates done.
        width: Where the parts were measured: the middle one of `widths`.
        widths: m, ascending.
        layers: Exponents of the parts, from layer 1 up.
        expected: For the layers whose parts are known, from layer 1 up.
        own: Measurements of the layers' own parts, by layer.
    """

    step: int
    width: int
    widths: tuple[int, ...]
    layers: tuple[LayerParts, ...]
    expected: tuple[ExpectedChange, ...]
    own: Mapping[int, Samples]

    def slope(self, layer: int) -> float | None:
        """The slope expected of the change of a layer at these widths; None where parts are not known."""
        if layer > len(self.expected):
            return None
        return fitted_slope(self.expected[layer - 1].sizes, self.widths)

    def judge(
        self, judged: Judgement, samples: Samples, layer: int, *, tolerance: float, numbers: int = 1
    ) -> Judgement:
        """Reconsider the verdict on a change whose slope was not shown to be theory's exponent.

        Args:
            judged: Against the exponent.
            samples: The measured change; positive, NaN in gaps.
            layer: Its layer.
            tolerance: Largest difference that still agrees.
            numbers: How many are judged together.

        Returns:
            "not yet" if the change follows the expected curve. "disagrees" if after the first update the
            layer's own part, which leads in theory, does not follow its curve; later that part is a sum
            itself. What disagreed becomes "undecided" if the curve explains part of it and noise hides
            whether all. What is too small (`Judgement.hidden`) disagrees if the curve does not explain it.
            Else as before.
        """
        slope, predicted = self.slope(layer), self.layers[layer - 1].change
        if slope is None or predicted is None or samples.widths != self.widths:
            return judged
        expected = self.expected[layer - 1]
        own = self._own(layer, tolerance, numbers)
        if own is not None and own.verdict is Verdict.DISAGREES:
            return Judgement(Verdict.DISAGREES, f"{own.why}; {self._why(layer, slope)}")
        quotient = fit_slope(_over(samples, expected.sizes))
        found = judge(quotient, _ZERO, tolerance=tolerance, one_term=True, numbers=numbers)
        apart = abs(slope - float(predicted)) > tolerance / 2
        if found.verdict is Verdict.AGREES and apart:
            return Judgement(Verdict.NOT_YET, self._why(layer, slope))
        if judged.verdict is not Verdict.DISAGREES and not judged.hidden:
            return judged
        if found.verdict is Verdict.DISAGREES or not (apart or judged.hidden):
            return Judgement(
                Verdict.DISAGREES, f"larger widths would not change it: {self._why(layer, slope)}"
            )
        why = f"{self._why(layer, slope)}; whether that is what was measured is too uncertain"
        return Judgement(Verdict.UNDECIDED, why, hidden=judged.hidden)

    def _own(self, layer: int, tolerance: float, numbers: int) -> Judgement | None:
        """Verdict on a layer's own part against its curve; None where it adds nothing."""
        parts, samples = self.layers[layer - 1], self.own.get(layer)
        leads = parts.own is not None and parts.below is not None and parts.own > parts.below
        if self.step != 1 or not leads or samples is None or samples.widths != self.widths:
            return None
        expected = self.expected[layer - 1].own
        try:
            fit = fit_slope(_over(samples, expected))
        except AnalysisError:
            return None
        judged = judge(fit, _ZERO, tolerance=tolerance, one_term=True, numbers=numbers)
        wanted = fitted_slope(expected, self.widths)
        why = f"the layer's own updates have slope {wanted + fit.slope.value:.2f}, expected {wanted:.2f}"
        return Judgement(judged.verdict, why)

    def _why(self, layer: int, slope: float) -> str:
        """The parts and the slope that follows from them, in words."""
        parts, expected = self.layers[layer - 1], self.expected[layer - 1]
        text = f"its parts measured at width {self.width} make {slope:.2f} of these widths"
        share = expected.shares[self.widths.index(self.width)]
        if parts.below is None or share > _ALL:
            return text
        text += (
            f": own updates ({power(parts.own)}) are {share:.0%} of its square there, W_0 on the change "
            f"below ({power(parts.below)}) the rest"
        )
        if expected.crossover is not None:
            text += f", equal at m ~ {width_text(expected.crossover)}"
        inherited = fitted_slope(expected.own, self.widths) - float(parts.own or 0)
        if abs(inherited) > _MATERIAL:
            text += f"; the layers below pass on {inherited:.2f}"
        return text


def finite_width(measured: Measured, analysis: Analysis, step: int) -> FiniteWidth | None:
    """Expected changes at a step.

    Args:
        measured: Sizes of "h" at step 0, "h_change", "change_below" and "change_own" at `step`.
        analysis: Analysis of the parameterization, at the widths measured.
        step: Updates done, >= 1.

    Returns:
        None where parts are not known: not recorded from layer 1 up, or not covered by theory.
    """
    first = _paired(measured, "h_change", 1, step)
    if first is None:
        return None
    try:
        layers = parts_of(analysis, step)
    except TheoryError:
        return None
    widths = first.widths
    width = widths[len(widths) // 2]
    sizes: dict[int, MeasuredParts] = {}
    own: dict[int, Samples] = {1: first}
    for layer in range(1, len(layers) + 1):
        start = _size(_paired(measured, "h", layer, 0), width)
        below = 0.0
        if layer > 1:
            passed_on = _size(_paired(measured, "change_below", layer, step), width)
            if (found := _paired(measured, "change_own", layer, step)) is None or passed_on is None:
                break
            own[layer], below = found, passed_on
        own_size = _size(own[layer], width)
        if start is None or own_size is None:
            break
        sizes[layer] = MeasuredParts(start, below, own_size)
    try:
        expected = expected_changes(layers, sizes, width, widths)
    except TheoryError:
        return None
    return FiniteWidth(step, width, widths, layers, expected, own)


def _paired(measured: Measured, quantity: str, layer: int, step: int) -> Samples | None:
    samples = measured.get((quantity, layer, step))
    if samples is None:
        return None
    try:
        return samples.paired()
    except AnalysisError:
        return None


def _size(samples: Samples | None, width: int) -> float | None:
    """The mean over seeds at a width."""
    if samples is None or width not in samples.widths:
        return None
    return float(samples.values[samples.widths.index(width)].mean())


def _over(samples: Samples, curve: tuple[float, ...]) -> Samples:
    return Samples(samples.widths, samples.seeds, samples.values / np.array(curve)[:, None])
