"""The forward pass of K networks at once: one batched matmul per layer, with values of shape (K, n, size)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ipcore.models import rms
from ipcore.models.activations import Activation
from ipcore.models.model import Architecture


class Batched:
    """Operations on K networks (`ipcore.models.model.Operations`).

    Args:
        weights: Effective weights W^l of every layer, (K, outputs, inputs).
        biases: Effective biases of the first layers, (K, 1, outputs).
        activation: phi.
    """

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: Activation) -> None:
        self._weights, self._biases, self._activation = weights, biases, activation

    def linear(self, layer: int, x: Tensor) -> Tensor:
        """The matmul x W^T, plus the bias if there is one."""
        weight = self._weights[layer - 1]
        if layer <= len(self._biases):
            return torch.baddbmm(self._biases[layer - 1], x, weight.mT)
        return torch.bmm(x, weight.mT)

    def activate(self, layer: int, h: Tensor) -> Tensor:
        """phi(h)."""
        return phi(h, self._activation)

    def normalize(self, layer: int, h: Tensor) -> Tensor:
        """The quotient of h and its root mean square."""
        return rms.normalized(h)

    def add(self, h: Tensor, branch: Tensor, scale: float) -> Tensor:
        """The sum h + scale * branch."""
        return torch.add(h, branch, alpha=scale)


def phi(h: Tensor, activation: Activation) -> Tensor:
    """The activation of h as a new tensor, bit for bit as training computes it."""
    x: Tensor = _Phi.apply(h, activation)  # type: ignore[no-untyped-call]
    return x


class _Phi(torch.autograd.Function):
    """An activation whose derivative is that of the hand-written passes."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, activation: Activation) -> Tensor:
        x = torch.empty_like(h)
        activation.forward(h, x)
        ctx.save_for_backward(*((h, x) if activation.keeps_preactivation else (x,)))
        ctx.activation = activation
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        saved = ctx.saved_tensors
        # A copy: a gradient may be handed to several operations.
        dh = gradients[0].clone()
        ctx.activation.backward(dh, saved[0], saved[-1])
        return dh, None


def apply(
    architecture: Architecture,
    activation: Activation,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    inputs: Tensor,
) -> Tensor:
    """Outputs of K networks on the same inputs.

    Args:
        architecture: Their kind and size.
        activation: phi.
        weights: Effective weights of every layer, (K, outputs, inputs).
        biases: Effective biases of the first layers, (K, 1, outputs).
        inputs: (n, d).

    Returns:
        (K, n, C).
    """
    x = inputs.expand(weights[0].shape[0], *inputs.shape)
    return architecture.forward(Batched(weights, biases, activation), x)
