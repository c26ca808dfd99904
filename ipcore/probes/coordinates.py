"""Sizes of the coordinates of h and x, and of their changes: what a coordinate check looks at.

Mean absolute values over examples and neurons (Yang & Hu, arXiv:2011.14522, section on the dynamical
dichotomy, and the authors' code of arXiv:2110.15596 measure exponents of width on them):

    h/l = mean_{i,j} |h_t^l(xi_i)_j|,        h_change/l = mean_{i,j} |h_t^l(xi_i)_j - h_0^l(xi_i)_j|

and x/l, x_change/l likewise for x^l = phi(h^l). At step 0 the changes are 0.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean_size(values: Tensor) -> Tensor:
    """Mean |value| of every run, summed in double precision; (K, a, b) -> (K,) float64."""
    return values.abs().mean(dim=(1, 2), dtype=torch.float64)


def coordinates(h: Tensor, h_0: Tensor) -> dict[str, Tensor]:
    """Sizes of a layer's preactivations, (K, n, outputs) at step t and at step 0."""
    return {"h": mean_size(h), "h_change": mean_size(h - h_0)}


def activations(x: Tensor, x_0: Tensor) -> dict[str, Tensor]:
    """Sizes of a hidden layer's activations, (K, n, m) at step t and at step 0."""
    return {"x": mean_size(x), "x_change": mean_size(x - x_0)}
