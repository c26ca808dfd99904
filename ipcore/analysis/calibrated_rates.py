"""Slopes of calibrated first rates: where they grow with the width, an update falls short of its alignment.

A calibrated rate makes the update of its layer contribute a set size on a second batch
(`ipcore.training.calibration`). If the rates are the largest stable ones of the exponent calculus, an aligned
layer needs a rate of order m^0. Where activations vanish at initialization and are linear at 0, the inner
products with the next inputs are random sums, and the rate grows by the deficit that
`ipcore.theory.LayerAlignment` has: m^{1/2} from layer 3 on for tanh, GELU, ELU with IP-LLR. [ours]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ipcore import theory
from ipcore.analysis.coordinate_report import sentence_of
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fit_slope
from ipcore.analysis.verdicts import TOLERANCE, Verdict, judge
from ipcore.errors import AnalysisError


@dataclass(frozen=True, slots=True)
class CalibratedRate:
    """One layer's calibrated rate against the width.

    Attributes:
        layer: Matrix l, 2..L+1 (the first layer keeps the user's rate).
        predicted: Exponent e: it grows like m^e.
        tolerance: Largest difference that still agrees.
        fit: The measured slope.
        verdict: Verdict at the measured widths.
        sentence: The finding in one sentence.
    """

    layer: int
    predicted: Fraction
    tolerance: float
    fit: Slope
    verdict: Verdict
    sentence: str


def check_calibrated_rates(
    measured: Mapping[int, Samples], analysis: theory.Analysis, *, tolerance: float = 2 * TOLERANCE
) -> tuple[CalibratedRate, ...]:
    """Compare calibrated rates of step 0 with the deficits of alignment.

    Args:
        measured: Base rates by layer 2..L+1, none of them capped (a capped rate is the cap, not a
            measurement).
        analysis: Analysis of the parameterization, whose rates at step 0 must be the largest stable ones.
        tolerance: Rates of different seeds differ much, so it is twice that of sizes.

    Raises:
        AnalysisError: The rates at step 0 are not the largest stable ones, so there is no prediction; or as
            `fit_slope`.
    """
    if text := rates_misfit(analysis):
        raise AnalysisError(text)
    deficits = {entry.layer: entry.deficit for entry in analysis.alignment}
    found = []
    for layer, samples in sorted(measured.items()):
        if layer not in deficits:
            continue
        fit = fit_slope(samples)
        # A rate is a ratio of sizes, not a sum in which one term may hide another.
        judged = judge(fit, deficits[layer], tolerance=tolerance, one_term=True, numbers=len(measured))
        name = f"calibrated rate of layer {layer}"
        sentence = sentence_of(name, fit, deficits[layer], tolerance, judged.verdict, judged.why)
        found.append(CalibratedRate(layer, deficits[layer], tolerance, fit, judged.verdict, sentence))
    return tuple(found)


def rates_misfit(analysis: theory.Analysis) -> str:
    """Why theory predicts no calibrated rates of these networks; "" if it does."""
    p = analysis.parameterization
    if analysis.block_matrices or analysis.normalization != "none":
        return "theory predicts no calibrated rates for residual blocks or normalized preactivations"
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
        ).parameterization
    except theory.TheoryError as error:
        return f"theory predicts no calibrated rates here: {error.text}"
    if largest.c_at(0) != p.c_at(0):
        return (
            "theory predicts calibrated rates only for the largest stable rates at step 0 (`iplab "
            "complete`); this parameterization has others"
        )
    return ""
