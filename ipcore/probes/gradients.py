"""Sizes of derivatives, gradients and updates.

    dh/l       = mean_{i,j} |d loss_i / d h^l(xi_i)_j|         loss_i: of example i alone
    gradient/l = mean_{j,k} |d L / d w^l_{jk}|                 L = (1/n) sum_i loss_i
    update/l   = mean_{j,k} |(W_t^l - W_0^l)_{jk}|             W^l = m^{-a_l} w^l, the effective matrix

From h^l = m^{-a_l} w^l x^{l-1} follows d L / d w^l = m^{-a_l} (1/n) sum_i dh^l_i (x^{l-1}_i)^T, so `gradient`
depends on the gauge in which the parameterization is written, as c_l does; `dh` and `update` do not
(`ipcore.models.scales`). W_0 is the initialization: with a parameterization that weighs its initial matrices
anew (hp, hpz), W_t - W_0 contains what that takes away, (rho_t - rho_0) m^{-a} w_0. Biases are not included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipcore.probes.definition import Definition, Quantity, Tap, room_of_matrices

if TYPE_CHECKING:
    from torch import Tensor

    from ipcore.probes.taps import Layer


def _gradient(layer: Layer) -> Tensor:
    summed = layer.dz.mT.bmm(layer.below)
    return layer.mean_size(summed) * layer.multipliers / layer.dz.shape[1]


GRADIENTS: Final = Definition(
    (
        Quantity(
            "dh",
            "mean |d loss_i / d h_i^l|, loss_i of one example",
            lambda layer: layer.mean_size(layer.dh),
            (Tap.DERIVATIVES,),
        ),
        Quantity(
            "gradient",
            "mean |d L / d w^l|, L the mean loss, W^l = m^{-a_l} w^l",
            _gradient,
            (Tap.DERIVATIVES,),
        ),
        Quantity(
            "update",
            "mean |W_t^l - W_0^l|",
            lambda layer: layer.mean_size(layer.update),
            (Tap.INITIAL_WEIGHTS,),
        ),
    ),
    room_of_matrices,
)
