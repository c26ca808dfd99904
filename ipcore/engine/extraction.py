"""One run's network out of a pack."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from ipcore.catalogue import canonical_name
from ipcore.config import PackConfig, RunConfig
from ipcore.engine.engine import Engine
from ipcore.models.network import Network
from ipcore.models.scales import bias_exponents, biased_layers, power


def extract(pack: Engine, config: PackConfig, run: RunConfig, position: int, step: int) -> Network:
    """The network of a run as it is now, on the CPU; holds w^l = m^{a_l} W^l.

    Args:
        pack: Where it is trained.
        config: Configuration of the pack.
        run: Run of this position.
        position: In the pack.
        step: Updates done.
    """
    p = run.parameterization

    def plain(effective: Tensor, a: Fraction) -> Tensor:
        return (effective.to("cpu", torch.float64) * power(config.width, a)).to(pack.dtype)

    def all_plain(tensors: Sequence[Tensor], exponents: Sequence[Fraction]) -> tuple[Tensor, ...]:
        return tuple(plain(tensor, a) for tensor, a in zip(tensors, exponents, strict=True))

    biased = biased_layers(p, config.bias)
    return Network(
        weights=all_plain([weight[position] for weight in pack.weights], p.a),
        biases=all_plain([bias[position, 0] for bias in pack.biases[:biased]], bias_exponents(p)[:biased]),
        parameterization=p,
        activation=config.activation,
        loss=config.loss,
        dataset=canonical_name(config.dataset),
        base_learning_rate=run.base_learning_rate,
        seed=run.seed,
        step=step,
        optimizer=config.optimizer,
        model=config.model,
    )
