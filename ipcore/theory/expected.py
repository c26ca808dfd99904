"""Expected sizes of changes at other widths than the one at which their parts were measured.

The exponents of the parts (`ipcore.theory.parts`) give the sizes at all widths (ours). Layers multiply:
`below` is proportional to the change of x^{l-1}, `own` to x_t^{l-1}, so a layer inherits the slopes of those
below it.

Where preactivations are normalized x_t does not depend on the size of h_t, and x_t - x_0 on the angle between
h_0 and h_t alone. With a change that is independent of h_0 (its parts are taken to be so, as everywhere here)

    |y_t - y_0| = 2 sin(angle / 2),    tan(angle) = |h_t - h_0| / |h_0|
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.parts import LayerParts
from ipcore.theory.quantities import instance, instances, mapping, number, numbers
from ipcore.theory.sums import Power, crossover

_ZERO: Final = Fraction(0)


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
    """The size of one layer's change at some widths, and its parts.

    Attributes:
        sizes: Sizes of the change, by width.
        below: Sizes of the part passed on from the layers below, by width.
        own: Sizes of the part made by the layer's own updates, by width.
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
        layers: Result of `parts_of`, from layer 1 up.
        measured: Sizes of the parts by layer, 1..L+1.
        width: The width of the measurement, > 0.
        widths: Widths of the expected sizes, > 0.

    Returns:
        One entry per layer, from layer 1 up to the last before the first that is not measured.

    Raises:
        TheoryError: Arguments of another kind; sizes that are not finite or below 0; widths that are not
            above 0; a change of size 0; a layer without updates of its own, or one whose bias and matrix have
            updates of different exponents, which are measured together.

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
    """Movement of the direction of h_0 under an independent change: a chord of the unit circle."""
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
    """Exponents of `own` and of `below`, per input."""
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
