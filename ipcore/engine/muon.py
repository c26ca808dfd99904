"""Muon: the velocity of a matrix, orthogonalized.

With g the gradient by the effective weights W^l (outputs n, inputs k), as in `ipcore.engine.optimizers`:

    v <- beta v + g,   u = g + beta v,   W <- W - eta f m^{-c-a} s(n, k) orthogonalized(u)

(Jordan et al., 2024, kellerjordan.github.io/posts/muon: Nesterov's momentum, five Newton-Schulz steps, see
`ipcore.engine.newton_schulz`). The factors s in use:

    muon            sqrt(max(1, n / k))   Jordan's code
    muon-unscaled   1
    muon-spectral   sqrt(n / k)           Yang, Simon & Bernstein, arXiv:2310.17813
    muon-rms        sqrt(max(n, k))       Liu et al., arXiv:2502.16982, whose factor 0.2 belongs to eta here

Every matrix is orthogonalized, including the first and the last. A bias is a matrix with one input, so its
orthogonalized update is u / |u|, exactly. (With all factors but none these are the vectors of Pethick et al.,
arXiv:2502.07529, of root mean square 1; Jordan's code leaves them to Adam.) Newton-Schulz computes in the
number format of the weights; with precision "tf32" its matmuls are as the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from ipcore.config import PackConfig, RunConfig
from ipcore.engine.engine import Engine
from ipcore.engine.newton_schulz import NewtonSchulz, normalize
from ipcore.engine.optimizers import Momentum, Optimizer

# (outputs, inputs) -> factor of the orthogonal update.
Factor = Callable[[int, int], float]


class Muon(Momentum):
    """A velocity for every tensor, whose direction is orthogonalized, and one gradient at a time."""

    def __init__(self, runs: Sequence[RunConfig], pack: Engine, factor: Factor) -> None:
        super().__init__(runs, pack)
        shapes = pack.shape.architecture.matrices
        steps = [run.settings.newton_schulz_steps for run in runs]
        self._orthogonalize = NewtonSchulz(shapes, steps, pack.dtype, pack.device)
        self._gradient = pack.buffer(len(runs) * max(n * k for n, k in shapes))
        self._factors = [factor(n, k) for n, k in shapes]
        self._bias_factors = [factor(n, 1) for n, _ in shapes]

    def update(self, layer: int, dh: Tensor, x: Tensor) -> None:
        """As `Optimizer.update`."""
        i, weight = layer - 1, self._decayed(layer)
        if layer <= len(self._biases):
            gradient = self._bias_gradient(dh)
            direction = normalize(self._with_momentum(gradient, self._bias_velocity[i]))
            self._biases[i].addcmul_(direction, self._bias_rate(layer), value=self._bias_factors[i])
        gradient = self._gradient[: weight.numel()].view_as(weight)
        self._pack.write_gradient(gradient, dh, x)
        direction = self._orthogonalize(self._with_momentum(gradient, self._velocity[i]))
        weight.addcmul_(direction, self._rates.weights[i], value=self._factors[i])

    def _with_momentum(self, gradient: Tensor, velocity: Tensor) -> Tensor:
        """Update the velocity; the gradient, overwritten, plus beta times it."""
        velocity.mul_(self._beta).add_(gradient)
        return gradient.addcmul_(velocity, self._beta)

    def buffers(self) -> list[Tensor]:
        """As `Optimizer.buffers`."""
        return [*super().buffers(), self._gradient, *self._orthogonalize.buffers()]


def muon(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Larger updates where a matrix has more outputs than inputs."""
    return Muon(runs, pack, lambda outputs, inputs: math.sqrt(max(1, outputs / inputs)))


def unscaled(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Spectral norms of 1."""
    return Muon(runs, pack, lambda outputs, inputs: 1.0)


def spectral(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Updates that turn inputs with entries of order 1 into outputs with entries of order 1."""
    return Muon(runs, pack, lambda outputs, inputs: math.sqrt(outputs / inputs))


def rms(config: PackConfig, runs: Sequence[RunConfig], pack: Engine) -> Optimizer:
    """Entries of the size that full-rank updates of Adam have."""
    return Muon(runs, pack, lambda outputs, inputs: math.sqrt(max(outputs, inputs)))
