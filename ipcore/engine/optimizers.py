"""Optimizers of a pack: updates of layers from their gradients, with settings for each run.

Gradient descent, momentum and Adam; signs are in `ipcore.engine.signs`, Muon in `ipcore.engine.muon`.
With g the gradient of the mean loss with respect to the effective weights W^l = m^{-a_l} w^l:

    sgd        W <- W - eta f m^{-c-2a} g
    momentum   v <- beta v + g,   W <- W - eta f m^{-c-2a} v
    adam       M <- b1 M + (1 - b1) g,   V <- b2 V + (1 - b2) g^2,
               W <- W - eta f m^{-c-a} Mhat / (sqrt(Vhat) + eps m^{a-d}),   Mhat = M / (1 - b1^{t+1}), ...
    adamw      as adam

which are the optimizers of w^l (Sutskever et al., 2013; Kingma & Ba, arXiv:1412.6980) written for W^l, with
the exponents of Yang & Littwin (arXiv:2308.01814) and the schedule's factor f. The velocity holds raw
gradients and c(t) is applied on use, so that a large first step is not replayed. Weight decay is decoupled
(Loshchilov & Hutter, arXiv:1711.05101): before its update a matrix (not a bias) is multiplied by
1 - eta f lambda, at any width; that is lambda_l = lambda m^{c_l(t)}, which no gauge changes
(`ipcore.engine.decay` says how a number format holds it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from ipcore.catalogue import OPTIMIZERS
from ipcore.catalogue.entries import implementation
from ipcore.config import PackConfig, RunConfig
from ipcore.engine.engine import Engine
from ipcore.engine.rates import StepRates, starts_of
from ipcore.models.scales import scaled


class Optimizer:
    """The interface of an optimizer, implemented for plain gradient descent.

    A layer's update is part of the matmul that makes its gradient.
    """

    def __init__(self, pack: Engine) -> None:
        self._pack = pack
        self._weights, self._biases = pack.weights, pack.biases
        self._rates: StepRates

    def begin(self, step: int, rates: StepRates) -> None:
        """Set the scalars of the update after `step` updates."""
        self._rates = rates

    def update(self, layer: int, dh: Tensor, x: Tensor) -> None:
        """Update layer 1..L+1 from dh^l and x^{l-1} (see `ipcore.engine.engine.Update`)."""
        rates, weight = self._rates, self._decayed(layer)
        biased = layer <= len(self._biases)
        if biased and rates.biases is not None:
            self._biases[layer - 1].addcmul_(self._bias_gradient(dh), rates.biases[layer - 1])
        dh.mul_(rates.weights[layer - 1])
        self._pack.add_gradient(weight, dh, x)
        if biased and rates.biases is None:
            self._biases[layer - 1].add_(self._bias_gradient(dh))

    def state(self) -> dict[str, Tensor]:
        """The tensors that a checkpoint must hold, by name, not copies."""
        return {}

    def buffers(self) -> list[Tensor]:
        """Every tensor held on the device."""
        return list(self.state().values())

    def _decayed(self, layer: int) -> Tensor:
        """The layer's matrix after this update's decay."""
        weight = self._weights[layer - 1]
        return weight if self._rates.decay is None else weight.mul_(self._rates.decay)

    def _bias_gradient(self, dh: Tensor) -> Tensor:
        return dh.sum(dim=1, keepdim=True, dtype=self._pack.dtype)

    def _bias_rate(self, layer: int) -> Tensor:
        return (self._rates.biases or self._rates.weights)[layer - 1]


class Momentum(Optimizer):
    """Gradient descent with a velocity (of gradients summed over the batch) for every tensor."""

    def __init__(self, runs: Sequence[RunConfig], pack: Engine) -> None:
        super().__init__(pack)
        self._velocity = [torch.zeros_like(weight) for weight in pack.weights]
        self._bias_velocity = [torch.zeros_like(bias) for bias in pack.biases]
        self._beta = column([run.settings.momentum for run in runs], pack)

    def update(self, layer: int, dh: Tensor, x: Tensor) -> None:
        """As `Optimizer.update`."""
        weight = self._decayed(layer)
        velocity = self._velocity[layer - 1].mul_(self._beta)
        self._pack.add_gradient(velocity, dh, x)
        weight.addcmul_(velocity, self._rates.weights[layer - 1])
        if layer <= len(self._biases):
            velocity = self._bias_velocity[layer - 1].mul_(self._beta).add_(self._bias_gradient(dh))
            self._biases[layer - 1].addcmul_(velocity, self._bias_rate(layer))

    def state(self) -> dict[str, Tensor]:
        """As `Optimizer.state`: velocities."""
        return {**named("velocity", self._velocity), **named("bias_velocity", self._bias_velocity)}

    def buffers(self) -> list[Tensor]:
        """As `Optimizer.buffers`."""
        return [*super().buffers(), self._beta]


class Adam(Optimizer):
    """Adam and AdamW: moments of every tensor, and one gradient at a time.

    Moments are those of m^{d-a} g: of order 1 where epsilon is scaled faithfully, so that the square of a
    gradient that vanishes with the width is a 32-bit number too. The quotient is Mhat / (sqrt(Vhat) + eps)
    then, and where d changes, moments are multiplied by the power of m by which it does. Epsilon is never
    less than the root of the smallest normal number, so that 0/0 is 0 without epsilon too.
    """

    def __init__(self, config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> None:
        super().__init__(pack)
        self._config, self._runs = config, runs
        self._own_biases = len(pack.biases) > 1
        self._mean = [torch.zeros_like(weight) for weight in pack.weights]
        self._square = [torch.zeros_like(weight) for weight in pack.weights]
        self._bias_mean = [torch.zeros_like(bias) for bias in pack.biases]
        self._bias_square = [torch.zeros_like(bias) for bias in pack.biases]
        largest = max(weight[0].numel() for weight in pack.weights)
        self._scratch = torch.zeros(pack.shape.runs * largest, dtype=pack.dtype, device=pack.device)
        self._beta1 = column([run.settings.beta1 for run in runs], pack, torch.float64)
        self._beta2 = column([run.settings.beta2 for run in runs], pack, torch.float64)
        self._new1, self._new2 = ((1 - beta).to(pack.dtype) for beta in (self._beta1, self._beta2))
        floor = math.sqrt(torch.finfo(pack.dtype).tiny)
        self._epsilon = column([max(floor, run.settings.epsilon) for run in runs], pack)
        self._starts = sorted(set[int]().union(*map(starts_of, runs)))
        self._start, self._scales = 0, self._scales_at(0)
        # Overwritten at every step, never replaced: a step may be replayed on the device.
        self._correction, self._root = torch.zeros_like(self._epsilon), torch.zeros_like(self._epsilon)

    def begin(self, step: int, rates: StepRates) -> None:
        """As `Optimizer.begin`."""
        super().begin(step, rates)
        # Mhat / (sqrt(Vhat) + eps) = correction M / (sqrt(V) + root eps).
        root = (1 - self._beta2 ** (step + 1)).sqrt_()
        self._correction.copy_(root / (1 - self._beta1 ** (step + 1)))
        torch.mul(self._epsilon, root.to(self._pack.dtype), out=self._root)
        start = max(s for s in self._starts if s <= step)
        if start != self._start:
            self._start = start
            for scale, now in zip(self._scales, self._scales_at(start), strict=True):
                scale.copy_(now)
        if step == start > 0:  # by the step alone, so that a resumed trainer does the same
            self._rescale(step)

    def update(self, layer: int, dh: Tensor, x: Tensor) -> None:
        """As `Optimizer.update`."""
        i, weight = layer - 1, self._decayed(layer)
        if layer <= len(self._biases):
            # Scalars of weights come first, then those of biases with exponents of their own.
            own = len(self._weights) + i if self._own_biases else i
            gradient = self._bias_gradient(dh).mul_(self._scales[own])
            rate = self._bias_rate(layer)
            self._apply(self._biases[i], gradient, self._bias_mean[i], self._bias_square[i], rate)
        dh.mul_(self._scales[i])
        gradient = self._scratch[: weight.numel()].view_as(weight)
        self._pack.write_gradient(gradient, dh, x)
        self._apply(weight, gradient, self._mean[i], self._square[i], self._rates.weights[i])

    def _apply(self, target: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, rate: Tensor) -> None:
        """Update one tensor; overwrites the gradient."""
        mean.lerp_(gradient, self._new1)
        square.lerp_(gradient.square_(), self._new2)
        torch.sqrt(square, out=gradient).add_(self._root)
        torch.div(mean, gradient, out=gradient)
        target.addcmul_(gradient, rate * self._correction)

    def state(self) -> dict[str, Tensor]:
        """As `Optimizer.state`: moments."""
        return {
            **named("mean", self._mean),
            **named("square", self._square),
            **named("bias_mean", self._bias_mean),
            **named("bias_square", self._bias_square),
        }

    def buffers(self) -> list[Tensor]:
        """As `Optimizer.buffers`."""
        columns = [self._beta1, self._beta2, self._new1, self._new2, self._epsilon, *self._scales]
        columns += [self._correction, self._root]
        return [*self.state().values(), self._scratch, *columns]

    def _scales_at(self, step: int) -> list[Tensor]:
        """Factors of the summed gradient of every tensor with exponents, (K, 1, 1) each."""
        return self._powers(1 / self._config.batch_size, lambda run: self._exponents(run, step))

    def _rescale(self, step: int) -> None:
        """Bring the moments to the d that holds from a step on."""

        def change(run: RunConfig) -> list[Fraction]:
            now, before = (self._exponents(run, s) for s in (step, step - 1))
            return [new - old for new, old in zip(now, before, strict=True)]

        ratios = self._powers(1.0, change)
        biases = ratios[len(self._weights) :] or ratios[: len(self._biases)]
        means, squares = [*self._mean, *self._bias_mean], [*self._square, *self._bias_square]
        largest = torch.finfo(self._pack.dtype).max  # not infinite: 0 stays 0
        for mean, square, ratio in zip(means, squares, ratios[: len(self._weights)] + biases, strict=True):
            ratio.clamp_(max=largest)
            mean.mul_(ratio)
            square.mul_(ratio).mul_(ratio)

    def _powers(self, factor: float, exponents: Callable[[RunConfig], list[Fraction]]) -> list[Tensor]:
        """A factor times m^exponent of every run, for each of its exponents."""
        width = self._config.width
        rows = [[scaled(factor, width, exponent) for exponent in exponents(run)] for run in self._runs]
        return [column(values, self._pack) for values in zip(*rows, strict=True)]

    def _exponents(self, run: RunConfig, step: int) -> list[Fraction]:
        """d(step) - a of every layer's weights and, if they have their own, biases; without d it is 0."""
        p = run.parameterization
        groups = [(p.a, p.phase_at(step))]
        if self._own_biases:
            own = p.biases
            groups.append((p.a, p.phase_at(step)) if own is None else (own.a, own.phase_at(step)))
        zeros = (Fraction(0),) * len(p.a)
        return [d - a for row, phase in groups for a, d in zip(row, phase.d or zeros, strict=True)]


def descent(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Plain gradient descent."""
    return Optimizer(pack)


def momentum(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Gradient descent with momentum."""
    return Momentum(runs, pack)


def adam(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Adam and AdamW."""
    return Adam(config, runs, pack)


# Type of the implementations that entries of the catalogue name.
Make = Callable[[PackConfig, Sequence[RunConfig], Engine], Optimizer]


def make_optimizer(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """The optimizer of a pack that has passed `ipcore.training.validation`."""
    make: Make = implementation(OPTIMIZERS[config.optimizer].implementation)
    return make(config, runs, pack)


def column(values: Sequence[float], pack: Engine, dtype: torch.dtype | None = None) -> Tensor:
    """One number per run, (K, 1, 1), in the weights' number format unless another is given."""
    table = np.array(values, dtype=np.float64)
    return torch.from_numpy(table).to(pack.device, dtype or pack.dtype).view(-1, 1, 1)


def named(name: str, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """Tensors of the layers by their names in checkpoints."""
    return {f"{name}{layer}": tensor for layer, tensor in enumerate(tensors, start=1)}
