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

n is the number of columns of V: m above the first layer, d in it, where alignment does not depend on the
width. Not defined, and left out, for n = 1 and where V, x or V x is 0 (an update or a change at step 0).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ipcore.probes.definition import Definition, Quantity, Sizes, Tap, room_of_matrices

if TYPE_CHECKING:
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
        return matrix.new_full((matrix.shape[0],), math.nan).double()
    ratio = _rms(x.bmm(matrix.mT)) / (_rms(matrix) * _rms(x))
    return ratio.log() / math.log(matrix.shape[2])


def _rms(values: Tensor) -> Tensor:
    """Root mean square per run, with squares in double precision: those of 32-bit numbers may vanish."""
    return values.double().square().mean(dim=(1, 2)).sqrt_()


def _room(sizes: Sizes) -> int:
    # Values of the layer below, and their changes.
    return room_of_matrices(sizes) + 2 * sizes.itemsize * sizes.widest


def _work(sizes: Sizes) -> float:
    return 4.0 * sizes.examples * sizes.entries


ALIGNMENT: Final = Definition(
    (
        Quantity(
            "alignment_initial",
            "log alignment ratio of W_0^l and x_t^{l-1}",
            lambda layer: log_alignment(layer.initial, layer.below),
            (Tap.INITIAL_WEIGHTS,),
        ),
        Quantity(
            "alignment_update",
            "log alignment ratio of W_t^l - W_0^l and x_t^{l-1}",
            lambda layer: log_alignment(layer.update, layer.below),
            (Tap.INITIAL_WEIGHTS,),
        ),
        Quantity(
            "alignment_backward",
            "log alignment ratio of (W_t^l - W_0^l)^T and d loss_i / d (W^l x)_i",
            lambda layer: log_alignment(layer.update.mT, layer.dz),
            (Tap.INITIAL_WEIGHTS, Tap.DERIVATIVES),
            readout=False,
            first=2,
        ),
        Quantity(
            "alignment_change",
            "log alignment ratio of W_0^l and x_t^{l-1} - x_0^{l-1}",
            lambda layer: log_alignment(layer.initial, layer.below - layer.below_0),
            (Tap.INITIAL_WEIGHTS, Tap.INITIAL_VALUES),
            first=2,
        ),
    ),
    _room,
    _work,
)
