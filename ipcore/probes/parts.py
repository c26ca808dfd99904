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

import torch
from torch import Tensor

from ipcore.probes.coordinates import mean_size


def change_parts(h_change: Tensor, x_change: Tensor, initial: Tensor) -> dict[str, Tensor]:
    """Sizes of both parts of one layer's change; (K,) float64 each.

    Args:
        h_change: h_t^l - h_0^l, (K, n, outputs).
        x_change: x_t^{l-1} - x_0^{l-1}, (K, n, inputs).
        initial: W_0^l, (K, outputs, inputs).
    """
    below = torch.bmm(x_change, initial.mT)
    return {"change_below": mean_size(below), "change_own": mean_size(below.neg_().add_(h_change))}
