"""Coordinate check: sizes of preactivations and their changes, layer by layer, against the exponent calculus.

The sizes at initialization and their changes after 1, 2, 3, ... updates tell parameterizations apart (Yang &
Hu, arXiv:2011.14522, section 3; the check as a tool: Yang et al., arXiv:2203.03466, appendix D.1). They are
compared with the *intended* parameterization, so an implementation or a table of exponents that is wrong in
one layer is found: at step 0 a forward pass meets the wrong layer first, and an update with a wrong rate
shows first in its own layer. Hence the first disagreement, by step and then by layer, names the layer.
Exponents that cannot show at the measured widths are recognized by the parts of the changes
(`ipcore.analysis.finite_width`), if those were measured.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from ipcore.analysis.coordinate_report import _HIDDEN, Coordinate, CoordinateReport, Prediction, sentence_of
from ipcore.analysis.finite_width import FiniteWidth, finite_width
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import fitted
from ipcore.analysis.verdicts import TOLERANCE, Judgement, Verdict, judge
from ipcore.errors import AnalysisError
from ipcore.theory import Analysis, Parameterization, Regime, StepSizes

# Outputs are few, so their sizes vary more over seeds than those of hidden layers.
READOUT_TOLERANCE: Final = 2 * TOLERANCE

Key = tuple[str, int, int]
"""(quantity "h" or "h_change", layer 1..L+1, step)."""


def check_coordinates(
    measured: Mapping[Key, Samples],
    analysis: Analysis,
    *,
    tolerance: float = TOLERANCE,
    readout_tolerance: float = READOUT_TOLERANCE,
    predictions: Mapping[int, Prediction] = MappingProxyType({}),
    steps: Collection[int] | None = None,
) -> CoordinateReport:
    """Compare measured sizes with an analysis of the intended parameterization.

    Args:
        measured: Mean |h| at step 0 and mean |h_t - h_0| at later steps. Runs without a value have NaN: with
            missing values the whole does not agree. With the parts of the changes ("change_below",
            "change_own", as the probe records them) a change may be "not yet". Others are ignored.
        analysis: Analysis of the parameterization as intended, with the optimizer, activation and loss of the
            runs, and at least as many steps as were measured.
        tolerance: For hidden layers.
        readout_tolerance: For the output.
        predictions: By step, where something other than `analysis` holds at the widths measured
            (`ipcore.analysis.epsilon`).
        steps: Steps that are checked; measurements at other steps are used for expected slopes. None: all.

    Raises:
        AnalysisError: A layer that the parameterization does not have.
    """
    layers = analysis.parameterization.hidden_layers
    numbers = sum(_checked(key, steps) for key in measured)
    found: list[Coordinate] = []
    notes: list[str] = []
    gaps = 0

    @functools.cache
    def at_these_widths(step: int) -> FiniteWidth | None:
        return finite_width(measured, predictions.get(step, Prediction(analysis)).analysis, step)

    for (quantity, layer, step), samples in sorted(measured.items(), key=_by_step):
        if not 1 <= layer <= layers + 1:
            raise AnalysisError(
                f"layer {layer} does not exist: layers are 1 .. {layers + 1}, the last the output"
            )
        if not _checked((quantity, layer, step), steps):
            continue
        prediction = predictions.get(step, Prediction(analysis))
        sizes = sizes_at(prediction.analysis, step)
        readout = layer == layers + 1
        predicted = _predicted(sizes, quantity, layer)
        name = "f" if readout else f"h^{layer}"
        name = name if quantity == "h" else f"change of {name}"
        if predicted is None:
            notes.append(f"{name} at step {step}: theory says exactly zero, which has no slope")
            gaps += bool(samples.values.any())
            continue
        fit, note = fitted(samples, f"{name} at step {step}")
        if note:
            notes.append(note)
            gaps += 1
        if fit is None:
            continue
        allowed = readout_tolerance if readout else tolerance
        judged = judge(
            fit,
            predicted,
            tolerance=allowed,
            upper_bound=not sizes.exact,
            one_term=step == 0 and _one_term(analysis.parameterization),
            numbers=numbers,
        )
        if judged.hidden and step > 0:
            judged = replace(judged, why=_HIDDEN)
        parts = at_these_widths(step) if step > 0 and sizes.exact else None
        if parts is not None and judged.verdict is not Verdict.AGREES:
            judged = parts.judge(judged, samples.measured(), layer, tolerance=allowed, numbers=numbers)
        judged = _doubted(judged, prediction, predicted, (quantity, layer, step))
        sentence = sentence_of(
            f"{name} at step {step}", fit, predicted, allowed, judged.verdict, judged.why, sizes.exact
        )
        found.append(
            Coordinate(
                quantity,
                layer,
                step,
                name,
                predicted,
                sizes.exact,
                allowed,
                fit,
                judged.verdict,
                sentence,
                judged.why,
                None if parts is None else parts.slope(layer),
                judged.needed,
            )
        )
    return CoordinateReport(tuple(found), tuple(notes), gaps)


def _checked(key: Key, steps: Collection[int] | None) -> bool:
    """Whether it is a size at step 0, or a change at a step that is wanted."""
    quantity, _, step = key
    return (quantity == "h_change" if step else quantity == "h") and (steps is None or step in steps)


def _predicted(sizes: StepSizes, quantity: str, layer: int) -> Fraction | None:
    rows = (*sizes.h, sizes.f) if quantity == "h" else (*sizes.h_change, sizes.f_change)
    return rows[layer - 1]


def _doubted(judged: Judgement, prediction: Prediction, predicted: Fraction, key: Key) -> Judgement:
    """Undecided where two predictions may hold and differ."""
    quantity, layer, step = key
    if prediction.other is None:
        return judged
    other = _predicted(sizes_at(prediction.other, step), quantity, layer)
    if other == predicted:
        return judged
    return Judgement(Verdict.UNDECIDED, f"{prediction.why}: between {predicted} and {other}")


def _one_term(p: Parameterization) -> bool:
    """Whether h_0^l is one product of order m^{-(a+b)}: no bias of its own, no mean beside the spread."""
    return p.biases is None and p.mean is None


def _by_step(item: tuple[Key, Samples]) -> tuple[int, int]:
    (_, layer, step), _ = item
    return step, layer


def sizes_at(analysis: Analysis, step: int) -> StepSizes:
    """Sizes after `step` updates; a step left out is as the one before.

    Beyond the last step they stand only if the exponents have settled without anything growing.
    """
    sizes = next(sizes for sizes in reversed(analysis.steps) if sizes.step <= step)
    known = step <= analysis.steps[-1].step
    lasting = analysis.settled and analysis.regime is not Regime.UNSTABLE
    return sizes if known or lasting else replace(sizes, exact=False)
