"""Sizes of the parts that the change of a layer's preactivations is the sum of, from layer 2 on.

With x = x^{l-1} at step t and x_0 the same at step 0,

    h_t^l - h_0^l = W_0^l (x - x_0)  +  (W_t^l - W_0^l) x  (+ b_t^l - b_0^l)

    change_below/l = mean_{i,j} |W_0^l (x - x_0)|                    passed on from the layer below
    change_own/l   = mean_{i,j} |h_t^l - h_0^l - W_0^l (x - x_0)|    updates of the layer's matrix and bias

The parts follow different powers of the width, so their sum follows none at small widths (docs/theory.md,
section 8). In layer 1 the input does not change: all is its own, and `h_change/1` has it. With a
parameterization that weighs its initial matrices anew after step 0 (hp, hpz), `change_own` contains what that
takes away. Both are as exact as h is: some 1e-7 |h| in single precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipcore.probes.definition import Definition, Quantity, Sizes, Tap, room_of_values

if TYPE_CHECKING:
    from torch import Tensor

    from ipcore.probes.taps import Layer


def _from_below(layer: Layer) -> Tensor:
    """W_0^l (x_t^{l-1} - x_0^{l-1}), (K, n, outputs)."""
    return (layer.below - layer.below_0).bmm(layer.initial.mT)


def _own(layer: Layer) -> Tensor:
    return layer.mean_size((layer.h - layer.h_0).sub_(layer.once(_from_below)))


def _room(sizes: Sizes) -> int:
    return room_of_values(sizes) + 2 * sizes.itemsize * sizes.widest


def _work(sizes: Sizes) -> float:
    return float(sizes.examples * sizes.entries)


_READS: Final = (Tap.INITIAL_WEIGHTS, Tap.INITIAL_VALUES)
PARTS: Final = Definition(
    (
        Quantity(
            "change_below",
            "mean |W_0^l (x_t^{l-1} - x_0^{l-1})|",
            lambda layer: layer.mean_size(layer.once(_from_below)),
            _READS,
            first=2,
        ),
        Quantity("change_own", "mean |h_t^l - h_0^l - W_0^l (x_t^{l-1} - x_0^{l-1})|", _own, _READS, first=2),
    ),
    _room,
    _work,
)
