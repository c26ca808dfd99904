"""Calibrated base rates for the first step of IP-LLR.

Exponents fix the power of m in a rate, not the constant. As in the code published with arXiv:2110.15596, the
constants are found before training: the update of base rate 1 is computed on a first batch, and the rates on
a second batch, layer by layer from below. The first layer keeps the user's rate (for its bias too). At a
hidden layer l the rate is

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
from ipcore.engine.engine import Engine
from ipcore.engine.inputs import Inputs
from ipcore.models.apply import Batched
from ipcore.models.scales import biased_layers, rate_factors
from ipcore.randomness import calibration_batches


def calibrated_rates(
    pack: Engine, config: PackConfig, runs: Sequence[RunConfig], inputs: Inputs, labels: Tensor
) -> dict[int, tuple[float, ...]]:
    """Position -> base rates of step 0, one per layer, of the runs with calibration.

    Args:
        pack: Networks at step 0.
        config: Configuration of the pack.
        runs: Runs of the pack.
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
    pack: Engine,
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
        biased: Whether a run's first layer has a bias that shares its rate. (Rates of runs whose biases have
            their own exponents are meaningless.)

    Returns:
        One rate per layer, first to last, per run. A layer whose update has no effect at all on the second
        batch (dead units) gets the cap; so does one whose effect is beyond the number format, so that the run
        diverges in training rather than stand still with a rate of 0.
    """
    runs = pack.shape.runs
    batch = torch.arange(pack.shape.batch_size, dtype=torch.int32, device=pack.device).unsqueeze(0)
    inputs, labels = first
    pack.gather(Inputs(inputs), labels, batch, torch.zeros(runs, dtype=torch.int64, device=pack.device))
    taps = pack.taps()

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=pack.device).view(runs, 1, 1)

    caps = column([setting.cap for setting in settings])
    effects = _Effects(
        pack,
        taps,
        scales=[
            column([-row[layer] / pack.shape.batch_size for row in factors]) for layer in range(len(taps))
        ],
        first=column(base_rates),
        targets=column([setting.readout_target for setting in settings]),
        caps=caps,
        biased=column([float(has) for has in biased]),
    )
    pack.shape.architecture.forward(effects, second.expand(runs, *second.shape))
    capped = [
        effects.rates[1],
        *(torch.minimum(effects.rates[layer], caps) for layer in range(2, len(taps) + 1)),
    ]
    return [tuple(row) for row in torch.cat(capped, dim=1).squeeze(-1).tolist()]


class _Effects(Batched):
    """Operations on the second batch of networks that learn layer by layer: h = (W + rate Delta W) x.

    Args:
        pack: Networks at step 0.
        taps: (dz, x) of every layer on the first batch.
        scales: Per layer, the factor that makes dz^T x the update of base rate 1, (K, 1, 1).
        first: Base rates of the first layer.
        targets: Mean sizes wanted at the last layer.
        caps: Rates of layers whose update has no effect.
        biased: 1 where the first layer has a bias that shares its rate, else 0.

    Attributes:
        rates: Rates found so far, by layer, not capped.
    """

    def __init__(
        self,
        pack: Engine,
        taps: Sequence[tuple[Tensor, Tensor]],
        *,
        scales: Sequence[Tensor],
        first: Tensor,
        targets: Tensor,
        caps: Tensor,
        biased: Tensor,
    ) -> None:
        super().__init__(pack.weights, pack.biases, pack.activation)
        self._taps, self._scales, self._dtype = taps, scales, pack.dtype
        self._first, self._targets, self._caps, self._biased = first, targets, caps, biased
        self.rates: dict[int, Tensor] = {}

    def linear(self, layer: int, x: Tensor) -> Tensor:
        """Find the layer's rate, and return its outputs on x after its update."""
        dz, below = self._taps[layer - 1]
        inner = torch.bmm(x, below.mT)
        if layer == 1:
            # The first layer's bias is an input that is always 1, so it adds 1 to every inner product.
            inner.add_(self._biased.to(self._dtype))
        effect = torch.bmm(inner, dz * self._scales[layer - 1].to(self._dtype))
        if layer == 1:
            rate = self._first
        else:
            mean = effect.abs().mean(dim=(1, 2), keepdim=True, dtype=torch.float64)
            target = self._targets if layer == len(self._taps) else torch.ones_like(mean)
            rate = torch.where((mean > 0) & mean.isfinite(), target / mean, self._caps)
        self.rates[layer] = rate
        h = torch.bmm(x, self._weights[layer - 1].mT).add_(effect.mul_(rate.to(self._dtype)))
        return h.add_(self._biases[layer - 1]) if layer <= len(self._biases) else h

    def activate(self, layer: int, h: Tensor) -> Tensor:
        """phi(h) as torch computes it."""
        return self._activation.apply(h)
