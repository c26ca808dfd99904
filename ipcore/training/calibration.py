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

from ipcore.config import Calibration, PackConfig, RunConfig
from ipcore.engine.inputs import Inputs
from ipcore.engine.pack import Pack
from ipcore.models.scales import biased_layers, rate_factors
from ipcore.randomness import calibration_batches


def calibrated_rates(
    pack: Pack, config: PackConfig, runs: Sequence[RunConfig], inputs: Inputs, labels: Tensor
) -> dict[int, tuple[float, ...]]:
    """Position -> base rates of step 0, one per layer, of the runs that ask for calibration.

    Args:
        pack: Networks at step 0.
        config: Of the pack.
        runs: Of the pack.
        inputs: Inputs that are trained on.
        labels: Their labels.
    """
    wanted = [position for position, run in enumerate(runs) if run.calibration is not None]
    if not wanted:
        return {}
    one, two = (
        torch.from_numpy(indices).to(pack.device)
        for indices in calibration_batches(len(inputs), config.batch_size)
    )
    # The whole pack takes part, which costs no memory; the others' rates are not used.
    rates = calibrate(
        pack,
        first=(inputs.at(one), labels[one]),
        second=inputs.at(two),
        base_rates=[run.base_learning_rate for run in runs],
        factors=[rate_factors(run.parameterization, config.width, 0) for run in runs],
        settings=[run.calibration or Calibration() for run in runs],
        biased=[biased_layers(run.parameterization, config.bias) > 0 for run in runs],
    )
    return {position: rates[position] for position in wanted}


def calibrate(
    pack: Pack,
    *,
    first: tuple[Tensor, Tensor],
    second: Tensor,
    base_rates: Sequence[float],
    factors: Sequence[Sequence[float]],
    settings: Sequence[Calibration],
    biased: Sequence[bool],
) -> list[tuple[float, ...]]:
    """Base rates of step 0 for every run of a pack at initialization.

    Delta W^l x = -(factor_l / B) dh^{l T} (x_1^{l-1} x) is computed from the right, through the (B, B) matrix
    of inner products between the two batches, so that no update is ever formed.

    Args:
        pack: Networks at step 0; their weights are not changed.
        first: Inputs (B, d) and labels (B,) or (B, k) of the batch of the update.
        second: Inputs (B, d) of the batch on which its effect is measured.
        base_rates: The user's eta per run.
        factors: m^{-c_l(0) - 2 a_l} per run and layer (`ipcore.models.scales.rate_factors`).
        settings: Targets and caps per run.
        biased: Whether a run's first layer has a bias that shares its rate. (Rates found for runs whose
            biases have exponents of their own mean nothing.)

    Returns:
        One rate per layer, first to last, per run. A layer whose update has no effect at all on the second
        batch (dead units) gets the cap; so does one whose effect is beyond the number format, so that the run
        diverges in training rather than stand still with a rate of 0.
    """
    runs = pack.shape.runs
    batch = torch.arange(pack.shape.batch_size, dtype=torch.int32, device=pack.device).unsqueeze(0)
    inputs, labels = first
    pack.gather(Inputs(inputs), labels, batch, torch.zeros(runs, dtype=torch.int64, device=pack.device))
    pack.forward()
    derivatives = pack.backward(update=None)

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
        inner = torch.bmm(x, below.mT)
        if layer == 1:
            # The first layer's bias is an input that is always 1, so it adds 1 to every inner product.
            inner.add_(column([float(has) for has in biased]).to(pack.dtype))
        effect = torch.bmm(inner, dh * scale)
        if layer == 1:
            rate = column(base_rates)
        else:
            mean = effect.abs().mean(dim=(1, 2), keepdim=True, dtype=torch.float64)
            target = readout_targets if layer == pack.shape.layers else torch.ones_like(mean)
            rate = torch.where((mean > 0) & mean.isfinite(), target / mean, caps)
        rates.append(rate)
        if layer < pack.shape.layers:
            h = torch.bmm(x, weight.mT).add_(effect.mul_(rate.to(pack.dtype)))
            if layer <= len(pack.biases):
                h.add_(pack.biases[layer - 1])
            x = pack.activation.apply(h)
    capped = [rates[0], *(torch.minimum(rate, caps) for rate in rates[1:])]
    return [tuple(row) for row in torch.cat(capped, dim=1).squeeze(-1).tolist()]
