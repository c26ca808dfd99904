"""The parts whose sum is a preactivation or its change.

    h_t^l  =  W_0^l x_0  +  W_0^l (x_t - x_0)  +  (W_t^l - W_0^l) x_t  (+ bias)
              start         below                 own

with x = x^{l-1}. Every part has an exponent. That of the sum is the largest, but at the widths of an
experiment a part with a smaller exponent may be larger (`ipcore.theory.expected`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.analysis import Analysis, check_analysis
from ipcore.theory.checks import check_integer
from ipcore.theory.errors import TheoryError, shown
from ipcore.theory.maxplus import Size, largest
from ipcore.theory.trajectory import trajectory

_HALF: Final = Fraction(1, 2)
_ZERO: Final = Fraction(0)


@dataclass(frozen=True, slots=True)
class LayerParts:
    """Exponents of the parts of h_t^l; None: exactly zero.

    Attributes:
        layer: l, 1..L; L+1 is the output f.
        step: t, updates done.
        start: e(h_0), the size at initialization: W_0 x_0 and the initial bias.
        below: e(W_0 (x_t - x_0)), passed on by the initial matrix.
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
        """The layer's own part: `update` and `bias` together."""
        return largest(self.update, self.bias)

    @property
    def change(self) -> Size:
        """e(h_t - h_0): the largest part but `start`."""
        return largest(self.below, self.own)

    @property
    def update_remainder(self) -> Size:
        """The remainder of `update` beside its law of large numbers: a random sum, m^{-1/2} of it.

        In layer 1 nothing is summed over neurons, so there is none.
        """
        return None if self.update is None or self.layer == 1 else self.update - _HALF


def parts_of(analysis: Analysis, step: int) -> tuple[LayerParts, ...]:
    """The parts of h^1..h^L and f after some updates.

    Args:
        analysis: Result of `analyze`. Its alignment bounds apply: lower after the first update of gradient
            descent (where it is known), upper otherwise (`StepSizes.exact`).
        step: Updates done, >= 1.

    Raises:
        TheoryError: No analysis; a step below 1; re-weighted initial matrices, which do not keep W_0 x_0;
            residual blocks.

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
    """Cached: all base rates of an experiment ask for the same parts."""
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
