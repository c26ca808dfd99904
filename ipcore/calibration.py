"""Calibrated base rates for the first step of IP-LLR.

Exponents fix the power of m in a rate, not the constant. As in the code published with arXiv:2110.15596,
before training: the update of base rate 1 is computed on a first batch, and on a second batch one goes up the
layers. The first layer keeps the user's rate (for its bias too). At a hidden layer l the rate is

    eta_l = 1 / mean |Delta W^l x^{l-1}|

with the mean over neurons and examples and Delta W^l the update of base rate 1; the readout has a target of
its own (1.0 in that code's later version, 0.1 in the earlier). Then h^l = (W_0^l + eta_l Delta W^l) x^{l-1}
gives x^l for the next layer, with eta_l as it is: only the returned rates are capped.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ipcore.config import Calibration
from ipcore.pack import Pack


def calibrate(
    pack: Pack,
    *,
    first: tuple[Tensor, Tensor],
    second: Tensor,
    base_rates: Sequence[float],
    factors: Sequence[Sequence[float]],
    settings: Sequence[Calibration],
) -> list[tuple[float, ...]]:
    """Base rates of step 0 for every run of a pack at initialization.

    Delta W^l x = -(factor_l / B) dh^{l T} (x_1^{l-1} x) is computed from the right, through the (B, B) matrix
    of inner products between the two batches, so that no update is ever formed.

    Args:
        pack: Networks at step 0; their weights are not changed.
        first: Inputs (B, d) and labels (B,) of the batch of the update.
        second: Inputs (B, d) of the batch on which its effect is measured.
        base_rates: The user's eta per run.
        factors: m^{-c_l(0) - 2 a_l} per run and layer (`ipcore.scales.rate_factors`).
        settings: Targets and caps per run.

    Returns:
        One rate per layer, first to last, per run. A layer whose update has no effect at all on the second
        batch (dead units) gets the cap.
    """
    runs = pack.shape.runs
    batch = torch.arange(pack.shape.batch_size, dtype=torch.int32, device=pack.device).unsqueeze(0)
    pack.gather(*first, batch, torch.zeros(runs, dtype=torch.int64, device=pack.device))
    pack.forward()
    derivatives = pack.backward(rates=None)

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=pack.device).view(runs, 1, 1)

    caps = column([setting.cap for setting in settings])
    readout_targets = column([setting.readout_target for setting in settings])
    rates: list[Tensor] = []
    x = second.expand(runs, *second.shape)
    for layer, (weight, below, dh) in enumerate(
        zip(pack.weights, pack.activations(), derivatives, strict=True), start=1
    ):
        scale = column([-row[layer - 1] / pack.shape.batch_size for row in factors]).to(pack.dtype)
        # The first layer's bias is an input that is always 1, so it adds 1 to every inner product.
        biased = layer == 1 and pack.bias is not None
        inner = torch.bmm(x, below.mT)
        effect = torch.bmm(inner.add_(1) if biased else inner, dh * scale)
        if layer == 1:
            rate = column(base_rates)
        else:
            mean = effect.abs().mean(dim=(1, 2), keepdim=True, dtype=torch.float64)
            target = readout_targets if layer == pack.shape.layers else torch.ones_like(mean)
            rate = torch.where(mean > 0, target / mean, caps)
        rates.append(rate)
        if layer < pack.shape.layers:
            h = torch.bmm(x, weight.mT).add_(effect.mul_(rate.to(pack.dtype)))
            x = pack.activation.apply(h.add_(pack.bias) if biased and pack.bias is not None else h)
    capped = [rates[0], *(torch.minimum(rate, caps) for rate in rates[1:])]
    return [tuple(row) for row in torch.cat(capped, dim=1).squeeze(-1).tolist()]
