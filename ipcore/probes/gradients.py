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

import torch
from torch import Tensor

from ipcore.probes.coordinates import mean_size


def gradients(dh: Tensor, dz: Tensor, x_below: Tensor, multipliers: Tensor) -> dict[str, Tensor]:
    """Sizes of a layer's derivatives.

    Args:
        dh: Derivative of each example's own loss by h^l, (K, n, outputs).
        dz: By W^l x, likewise.
        x_below: What W^l is applied to, (K, n, inputs).
        multipliers: m^{-a_l} of every run, (K,) float64.
    """
    gradient = torch.bmm(dz.mT, x_below)
    return {"dh": mean_size(dh), "gradient": mean_size(gradient) * multipliers / dh.shape[1]}


def updates(change: Tensor) -> dict[str, Tensor]:
    """Size of W_t - W_0, (K, outputs, inputs)."""
    return {"update": mean_size(change)}
