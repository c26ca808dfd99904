"""What a preactivation and its change are the sum of, part by part, and what that predicts at finite widths.

    h_t^l  =  W_0^l x_0  +  W_0^l (x_t - x_0)  +  (W_t^l - W_0^l) x_t  (+ bias)
              start         below                 own

with x = x^{l-1}. Every part has an exponent (`parts_of`); that of the sum is the largest, but at the widths
of an experiment a part with a smaller exponent may be larger. With the sizes of the parts measured at one
width, the exponents give the sizes at all others (`expected_changes`; ours). Layers multiply: `below` is
proportional to the change of x^{l-1}, `own` to x_t^{l-1}, so a layer inherits the slopes of those below it.

Where preactivations are normalized x_t does not depend on the size of h_t, and x_t - x_0 on the angle between
h_0 and h_t alone. With a change that is independent of h_0 (its parts are taken to be so, as everywhere here)

    |y_t - y_0| = 2 sin(angle / 2),    tan(angle) = |h_t - h_0| / |h_0|
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.analysis import Analysis, check_analysis
from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.maxplus import Size, largest
from ipcore.theory.parameterization import check_integer
from ipcore.theory.quantities import instance, instances, mapping, number, numbers
from ipcore.theory.sums import Power, crossover
from ipcore.theory.trajectory import trajectory

_HALF: Final = Fraction(1, 2)
_ZERO: Final = Fraction(0)


@dataclass(frozen=True, slots=True)
class LayerParts:
    """Exponents of the parts of h_t^l; None: exactly zero.

    Attributes:
        layer: l, 1..L; L+1 is the output f.
        step: t, updates done.
        start: e(W_0 x_0), the size at initialization.
        below: e(W_0 (x_t - x_0)), what the initial matrix passes on.
        update: e((W_t - W_0) x_t), the updates of the layer's own matrix.
        bias: e(b_t - b_0) of a bias with exponents of its own.
        below_per_input: `below` less e(x_t - x_0) of the layer below; None in layer 1.
        update_per_input: `update` less e(x_t) of the layer below; `update` itself in layer 1.
        activation: e(x_t) less e(h_t) of this layer.
        activation_change: e(x_t - x_0) less e(h_t - h_0).
        normalized: Whether x_t is made of h_t / rms(h_t).
    """

    layer: int
    step: int
    start: Fraction
    below: Size
    update: Size
    bias: Size
    below_per_input: Size
    update_per_input: Size
    activation: Fraction
    activation_change: Fraction
    normalized: bool = False

    @property
    def own(self) -> Size:
        """What the layer itself learned: `update` and `bias` together."""
        return largest(self.update, self.bias)

    @property
    def change(self) -> Size:
        """e(h_t - h_0): the largest part but `start`."""
        return largest(self.below, self.own)

    @property
    def update_remainder(self) -> Size:
        """What is left of `update` beside its law of large numbers: a random sum, m^{-1/2} of it.

        In layer 1 nothing is summed over neurons, so there is none.
        """
        return None if self.update is None or self.layer == 1 else self.update - _HALF


def parts_of(analysis: Analysis, step: int) -> tuple[LayerParts, ...]:
    """The parts of h^1..h^L and f after some updates.

    Args:
        analysis: What `analyze` found. Its alignment bounds apply: lower after the first update of gradient
            descent (where it is known), upper otherwise (`StepSizes.exact`).
        step: Updates done, >= 1.

    Raises:
        TheoryError: A step below 1; re-weighted initial matrices, which keep less than W_0 x_0; residual
            blocks.

    >>> from ipcore.theory import analyze, preset
    >>> f = parts_of(analyze(preset("mup", 2)), step=1)[-1]
    >>> str(f.start), str(f.below), str(f.update)
    ('-1/2', '0', '0')
    """
    check_analysis(analysis)
    check_integer(step, "step")
    if step < 1:
        raise TheoryError(f"must be at least 1, not {shown(step)}: a change has parts", "step")
    if analysis.parameterization.reweightings:
        raise TheoryError(
            "parts are not covered for re-weighted initial matrices: the change contains what is taken away",
            "reweightings",
        )
    if analysis.block_matrices:
        raise TheoryError(
            "not covered: parts with residual blocks, where a skip connection adds one; the sizes of "
            "`steps` and measured slopes are what there is",
            "block_matrices",
        )
    return _parts_of(analysis, step)


@functools.lru_cache(maxsize=256)
def _parts_of(analysis: Analysis, step: int) -> tuple[LayerParts, ...]:
    """The same for all base rates of an experiment."""
    p = analysis.parameterization
    setting = analysis.setting
    aligned = step > 1 or setting.entrywise
    run = trajectory(p, setting, aligned=aligned, steps=None if step > 1 else 1)
    phi, initial, sizes = setting.activation, run.steps[0].h, run.at(step)
    found = []
    x: Size = _ZERO
    x_change: Size = None
    for i, (start, h, change) in enumerate(zip(initial, sizes.h, sizes.change, strict=True)):
        if start is None or h is None:
            raise TheoryError(f"h^{i + 1} is exactly zero", "parameterization")
        below, update = sizes.from_below[i], sizes.from_update[i]
        per_input = None if update is None or x is None else update - x
        passed_on = None if below is None or x_change is None else below - x_change
        normalized = sizes.normalized and i < len(initial) - 1
        if normalized:
            relative = None if change is None else min(_ZERO, change - start)
            x, x_change = phi.size(_ZERO), phi.change(_ZERO, relative)
        else:
            x, x_change = phi.size(h), phi.change(start, change)
        found.append(
            LayerParts(
                layer=i + 1,
                step=step,
                start=start,
                below=below,
                update=update,
                bias=sizes.from_bias[i],
                below_per_input=passed_on,
                update_per_input=per_input,
                activation=_ZERO if x is None else x - h,
                activation_change=_ZERO if x_change is None or change is None else x_change - change,
                normalized=normalized,
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class MeasuredParts:
    """Sizes of the parts of one layer at one width.

    Attributes:
        start: |h_0|.
        below: |W_0 (x_t - x_0)|; 0 in layer 1.
        own: |h_t - h_0 - W_0 (x_t - x_0)|.
    """

    start: float
    below: float
    own: float


@dataclass(frozen=True, slots=True)
class ExpectedChange:
    """The size of one layer's change at some widths, up to a constant factor, and its parts.

    Attributes:
        sizes: Of the change, by width.
        below: Of `below`.
        own: Of `own`.
        crossover: The width at which `below` and `own` are equal if the layers below keep their size; None
            if their exponents are the same or one part is zero.
    """

    sizes: tuple[float, ...]
    below: tuple[float, ...]
    own: tuple[float, ...]
    crossover: float | None

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of `own` in the square of the size, by width."""
        return tuple((own / size) ** 2 for own, size in zip(self.own, self.sizes, strict=True))


def expected_changes(
    layers: Sequence[LayerParts],
    measured: Mapping[int, MeasuredParts],
    width: float,
    widths: Sequence[float],
) -> tuple[ExpectedChange, ...]:
    """Sizes of the changes at other widths than the one at which their parts were measured.

    After the first update exact up to remainders, m^{-1/2} of each part. Later `own` is a sum over steps
    itself and is taken to follow its largest term.

    Args:
        layers: Of `parts_of`, from layer 1 up; it stops at the first that is not measured.
        measured: By layer.
        width: At which.
        widths: At which the sizes are wanted.

    Raises:
        TheoryError: Arguments of another kind, sizes and widths that are no numbers above 0; a change of
            size 0, or one that `below` and `own` do not give.

    A part m^{-1/2} that is as large as a part m^0 at m = 100: the slope there is -1/4.

    >>> from ipcore.theory import analyze, preset
    >>> from ipcore.theory.sums import fitted_slope
    >>> after_one = parts_of(analyze(preset("ip-llr", 2)), step=1)
    >>> sizes = {1: MeasuredParts(1.0, 0.0, 1.0), 2: MeasuredParts(0.0, 1.0, 1.0)}
    >>> h2 = expected_changes(after_one, sizes, 100, (99, 101))[1]
    >>> round(fitted_slope(h2.sizes, (99, 101)), 3), round(h2.crossover)
    (-0.25, 100)
    """
    findings = Findings()
    with findings.noted():
        layers = instances(layers, LayerParts, "layers")
    with findings.noted():
        measured = _measured(measured)
    with findings.noted():
        number(width, "width", positive=True)
    with findings.noted():
        widths = numbers(widths, "widths", positive=True)
    findings.check()
    found: list[ExpectedChange] = []
    # Of the layer below, relative to the width where it was measured: x_t and x_t - x_0.
    x = x_change = (1.0,) * len(widths)
    for layer in layers:
        sizes = measured.get(layer.layer)
        if sizes is None:
            break
        own_exponent, below_exponent = _exponents(layer)
        own = Power(own_exponent, sizes.own, width)
        below = Power(below_exponent, sizes.below, width)
        owns = tuple(own.at(m) * ratio for m, ratio in zip(widths, x, strict=True))
        belows = tuple(below.at(m) * ratio for m, ratio in zip(widths, x_change, strict=True))
        changes = tuple(map(math.hypot, owns, belows))
        here = math.hypot(sizes.own, sizes.below)
        if not here or not all(changes):
            raise TheoryError(f"the change of layer {layer.layer} has size 0 and no slope", "measured")
        found.append(ExpectedChange(changes, belows, owns, crossover(own, below)))
        start = Power(layer.start, sizes.start, width)
        if layer.normalized:
            turned = _turned(here, sizes.start)
            x = (1.0,) * len(widths)
            x_change = tuple(
                _turned(change, start.at(m)) / turned for m, change in zip(widths, changes, strict=True)
            )
            continue
        activation = Power(layer.activation, 1.0, width)
        derivative = Power(layer.activation_change, 1.0, width)
        whole = math.hypot(sizes.start, here)
        x = tuple(
            activation.at(m) * math.hypot(start.at(m), change) / whole
            for m, change in zip(widths, changes, strict=True)
        )
        x_change = tuple(derivative.at(m) * change / here for m, change in zip(widths, changes, strict=True))
    return tuple(found)


def _turned(change: float, start: float) -> float:
    """How far the direction of h_0 moves under an independent change: a chord of the unit circle."""
    return 2 * math.sin(math.atan2(change, start) / 2)


def _measured(sizes: Mapping[int, MeasuredParts]) -> Mapping[int, MeasuredParts]:
    findings = Findings()
    for layer, parts in mapping(sizes, "measured").items():
        with findings.noted():
            found = instance(parts, MeasuredParts, f"measured[{shown(layer)}]")
            for name in ("start", "below", "own"):
                number(getattr(found, name), f"measured[{shown(layer)}].{name}")
    findings.check()
    return sizes


def _exponents(layer: LayerParts) -> tuple[Fraction, Fraction]:
    """Of `own` and of `below`, per input."""
    if layer.bias is not None and layer.bias != layer.update:
        raise TheoryError(
            f"updates of the matrix and of the bias of layer {layer.layer} have different exponents and are "
            "measured together",
            "measured",
        )
    own = layer.update_per_input
    if own is None:
        raise TheoryError(f"layer {layer.layer} has no updates of its own", "measured")
    return own, _ZERO if layer.below_per_input is None else layer.below_per_input
