"""Slopes of sizes that theory does not cover: measured and worded, without a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ipcore.analysis.coordinate_check import Key
from ipcore.analysis.coordinate_report import without_prediction
from ipcore.analysis.samples import Samples
from ipcore.analysis.slopes import Slope, fitted


@dataclass(frozen=True, slots=True)
class MeasuredSlope:
    """The dependence of one size on the width.

    Attributes:
        quantity: "h" (at step 0) or "h_change" (after that, against step 0).
        layer: 1..n; n is the output f.
        step: Updates done.
        fit: The measured slope.
        sentence: The finding in one sentence.
    """

    quantity: str
    layer: int
    step: int
    fit: Slope
    sentence: str


def measure_coordinates(
    measured: Mapping[Key, Samples], layers: int
) -> tuple[tuple[MeasuredSlope, ...], tuple[str, ...]]:
    """Fit a slope to every size, by step and then by layer.

    Args:
        measured: Mean |h| at step 0 and mean |h_t - h_0| at later steps, as for
            `ipcore.analysis.coordinate_check.check_coordinates`. Others are ignored.
        layers: Number n of weight matrices.

    Returns:
        The fits, and notes on sizes that could not be fitted, and why.

    >>> sizes = {(m, seed): 2.0 / m for m in (64, 128, 256) for seed in range(2)}
    >>> found, notes = measure_coordinates({("h_change", 3, 1): Samples.of(sizes)}, layers=3)
    >>> found[0].sentence, notes
    ('change of f at step 1: slope -1.00 [-1.00, -1.00], no prediction, widths 64..256, 2 seeds', ())
    """
    found, notes = [], []
    for (quantity, layer, step), samples in sorted(measured.items(), key=lambda item: item[0][::-1]):
        if quantity not in {"h", "h_change"} or (quantity == "h") != (step == 0):
            continue
        size = "f" if layer == layers else f"h^{layer}"
        name = f"{size if quantity == 'h' else f'change of {size}'} at step {step}"
        fit, note = fitted(samples, name)
        if note:
            notes.append(note)
        if fit is None:
            continue
        found.append(MeasuredSlope(quantity, layer, step, fit, without_prediction(name, fit)))
    return tuple(found), tuple(notes)
