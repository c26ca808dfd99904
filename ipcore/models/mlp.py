"""The multilayer perceptron. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from ipcore.models.model import (
    Layers,
    NormalizationSetting,
    Operations,
    TensorSpec,
    chain,
    normalization_problems,
    normalized,
)

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Mlp:
    """L hidden layers of m neurons: h^l = W^l x^{l-1} (+ bias), x^l = phi(h^l), f = W^{L+1} x^L.

    Attributes:
        normalization: A name in `ipcore.catalogue.NORMALIZATIONS`. With "rms" x^l = phi(h^l / rms(h^l))
            (`ipcore.models.model.Normalizing`).
    """

    normalization: NormalizationSetting = "none"

    name: ClassVar[str] = "mlp"

    def problems(self) -> list[str]:
        """Settings that are not among those above."""
        return normalization_problems(self.normalization)

    def layers(self, hidden_layers: int) -> int:
        """L+1 weight matrices."""
        return hidden_layers + 1

    def tensors(
        self, hidden_layers: int, input_dim: int, output_dim: int, biases: int
    ) -> tuple[TensorSpec, ...]:
        """w1..w{L+1}, then biases."""
        return chain(self.layers(hidden_layers), input_dim, output_dim, biases)

    def forward(self, hidden_layers: int, ops: Operations[V], x: V) -> V:
        """Outputs f of inputs x."""
        return perceptron(hidden_layers, normalized(self.normalization, ops), x)


def perceptron(hidden_layers: int, ops: Layers[V], x: V) -> V:
    """Outputs f of inputs x: the chain of all layers."""
    for layer in range(1, hidden_layers + 1):
        x = ops.activate(layer, ops.linear(layer, x))
    return ops.linear(hidden_layers + 1, x)


MLP: Final = Mlp()
