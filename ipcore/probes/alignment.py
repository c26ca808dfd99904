r"""Log alignment ratio of a matrix and the vectors it acts on.

Everett et al. (arXiv:2407.05872, their log alignment ratio): for a matrix V with n columns and vectors x,

    A(V, x) = log_n( rms(V x) / (rms(V) rms(x)) )

with the root mean square over all entries, for V x and x over the examples too. Independent entries of mean 0
give 1/2 (central limit theorem), one shared direction gives 1 (law of large numbers); cancellation gives less
than 1/2. Theory's propagation rules add exactly these exponents to those of V and x (docs/theory.md).

    alignment_initial/l  = A(W_0^l, x_t^{l-1})
    alignment_update/l   = A(W_t^l - W_0^l, x_t^{l-1})                   theta
    alignment_backward/l = A((W_t^l - W_0^l)^T, d loss_i / d (W^l x)_i)  theta', of hidden matrices
    alignment_change/l   = A(W_0^l, x_t^{l-1} - x_0^{l-1})               omega, l > 1

n is the number of columns of V: m above the first layer, d in it, where alignment says nothing about the
width. Not defined, and left out, for n = 1 and where V, x or V x is 0 (an update or a change at step 0).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def log_alignment(matrix: Tensor, x: Tensor) -> Tensor:
    """A(V, x) of every run; NaN or infinite where it is not defined.

    Args:
        matrix: V, (K, outputs, inputs).
        x: Vectors, one per row, (K, n, inputs).

    Returns:
        (K,) float64.
    """
    if matrix.shape[2] == 1:
        return torch.full((matrix.shape[0],), math.nan, dtype=torch.float64, device=matrix.device)
    ratio = _rms(torch.bmm(x, matrix.mT)) / (_rms(matrix) * _rms(x))
    return ratio.log() / math.log(matrix.shape[2])


def _rms(values: Tensor) -> Tensor:
    """Root mean square per run, with squares in double precision: those of 32-bit numbers may vanish."""
    return values.double().square().mean(dim=(1, 2)).sqrt_()
