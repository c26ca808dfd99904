"""Definition of a system of particles, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ipcore.engine.losses import Loss
from ipcore.models.activations import Activation
from ipcore.randomness import generator


@dataclass(frozen=True, slots=True)
class Problem:
    """Definition of a system of particles.

    Attributes:
        hidden_layers: L.
        particles: N, neurons per layer.
        input_dim: d.
        outputs: C.
        activation: phi.
        variance: s^2 of the initial weights.
        biased: Whether the first layer has a bias.
        loss: A function of outputs and labels.
        batch_size: B.
        steps: T.
        momentum: beta; 0: plain gradient descent.
        carries: Whether the velocity of each layer 1..L+1 carries on the gradient of step 0.
        revives: Whether neurons of layer L that are off on batch 0 may turn on (`ipcore.limits.revival`).
        seed: Keys the particles.
        dtype: Number format of the particles.
        device: Device of the particles.
    """

    hidden_layers: int
    particles: int
    input_dim: int
    outputs: int
    activation: Activation
    variance: float
    biased: bool
    loss: Loss
    batch_size: int
    steps: int
    momentum: float
    carries: tuple[bool, ...]
    revives: bool
    seed: int
    dtype: torch.dtype = torch.float32
    device: str | torch.device = "cpu"

    @property
    def std(self) -> float:
        """s, the root of `variance`: initial hidden matrices have entries of standard deviation s/sqrt(N)."""
        return math.sqrt(self.variance)

    def normals(self, replica: int, *what: str | int) -> np.random.Generator:
        """Normals of a replica for a purpose: the same whenever they are drawn."""
        return generator(self.seed, "limit", replica, self.particles, *what)

    def inputs(self, x: Tensor) -> Tensor:
        """The inputs xi = (x, 1), (n, d) -> (n, d + 1); without a bias x itself, (n, d)."""
        x = x.to(self.dtype)
        return torch.cat([x, x.new_ones(len(x), 1)], dim=1) if self.biased else x

    def derivative(self, f: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """Mean loss of a batch, and the derivative of the summed loss by the outputs (n, C)."""
        out = torch.empty_like(f).unsqueeze(0)
        summed = self.loss.value_and_derivative(f.unsqueeze(0), labels.unsqueeze(0), out)
        return float(summed[0]) / len(f), out[0]
