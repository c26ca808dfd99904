"""Optimizers whose update is a sign: an entry of a matrix or bias moves by its rate, or not at all.

With g the gradient by the effective weights W^l, as in `ipcore.engine.optimizers`:

    signum   v <- beta v + g,                  W <- W - eta f m^{-c-a} sign(v)
    lion     u = b1 M + (1 - b1) g,            W <- W - eta f m^{-c-a} sign(u),   then M <- b2 M + (1 - b2) g

Signum is that of Bernstein et al. (arXiv:1802.04434, algorithm 2), whose velocity is (1 - beta) v; Lion
that of Chen et al. (arXiv:2302.06675, program 1). The sign of 0 is 0. Weight decay is decoupled and comes
first, as in `ipcore.engine.optimizers`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ipcore.config import PackConfig, RunConfig
from ipcore.engine.engine import Engine
from ipcore.engine.optimizers import Optimizer, column, named


class _Signs(Optimizer):
    """A mean of gradients for every tensor, and a buffer for its sign."""

    def __init__(self, pack: Engine) -> None:
        super().__init__(pack)
        self._mean = [torch.zeros_like(weight) for weight in pack.weights]
        self._bias_mean = [torch.zeros_like(bias) for bias in pack.biases]
        self._largest = pack.shape.runs * max(weight[0].numel() for weight in pack.weights)
        self._sign = pack.buffer(self._largest)

    def state(self) -> dict[str, Tensor]:
        """As `Optimizer.state`: the means."""
        return {**named("mean", self._mean), **named("bias_mean", self._bias_mean)}


class Signum(_Signs):
    """Sign of a velocity."""

    def __init__(self, runs: Sequence[RunConfig], pack: Engine) -> None:
        super().__init__(pack)
        self._beta = column([run.settings.momentum for run in runs], pack)

    def update(self, layer: int, dh: Tensor, x: Tensor) -> None:
        """As `Optimizer.update`."""
        i, weight = layer - 1, self._decayed(layer)
        if layer <= len(self._biases):
            velocity = self._bias_mean[i].mul_(self._beta).add_(self._bias_gradient(dh))
            self._biases[i].addcmul_(velocity.sign(), self._bias_rate(layer))
        velocity = self._mean[i].mul_(self._beta)
        self._pack.add_gradient(velocity, dh, x)
        sign = self._sign[: weight.numel()].view_as(weight)
        weight.addcmul_(torch.sign(velocity, out=sign), self._rates.weights[i])

    def buffers(self) -> list[Tensor]:
        """As `Optimizer.buffers`."""
        return [*super().buffers(), self._sign, self._beta]


class Lion(_Signs):
    """Sign of one mean of gradients, while another is kept."""

    def __init__(self, runs: Sequence[RunConfig], pack: Engine) -> None:
        super().__init__(pack)
        self._gradient = pack.buffer(self._largest)
        chosen = [run.settings for run in runs]
        pairs = [s.beta1 for s in chosen], [s.beta2 for s in chosen]
        betas = (column(beta, pack, torch.float64) for beta in pairs)
        self._new1, self._new2 = ((1 - beta).to(pack.dtype) for beta in betas)

    def update(self, layer: int, dh: Tensor, x: Tensor) -> None:
        """As `Optimizer.update`."""
        i, weight = layer - 1, self._decayed(layer)
        if layer <= len(self._biases):
            mean, gradient = self._bias_mean[i], self._bias_gradient(dh)
            sign = torch.lerp(mean, gradient, self._new1).sign_()
            self._biases[i].addcmul_(sign, self._bias_rate(layer))
            mean.lerp_(gradient, self._new2)
        gradient, sign = (room[: weight.numel()].view_as(weight) for room in (self._gradient, self._sign))
        self._pack.write_gradient(gradient, dh, x)
        torch.lerp(self._mean[i], gradient, self._new1, out=sign)
        weight.addcmul_(sign.sign_(), self._rates.weights[i])
        self._mean[i].lerp_(gradient, self._new2)

    def buffers(self) -> list[Tensor]:
        """As `Optimizer.buffers`."""
        return [*super().buffers(), self._sign, self._gradient, self._new1, self._new2]


def signum(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Sign-momentum."""
    return Signum(runs, pack)


def lion(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Lion."""
    return Lion(runs, pack)
