"""A multilayer perceptron with residual blocks. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, ClassVar, Final, TypeVar

from ipcore.catalogue.rules import Interval
from ipcore.models.model import (
    NormalizationSetting,
    Operations,
    TensorSpec,
    chain,
    normalization_problems,
    normalized,
)

V = TypeVar("V")

_ALPHAS: Final = {"depth^-1/2": Fraction(1, 2), "depth^-1": Fraction(1), "1": Fraction(0)}
BRANCH_MULTIPLIERS: Final = tuple(_ALPHAS)
BLOCK_MATRICES: Final = (1, 2)


@dataclass(frozen=True, slots=True)
class ResidualMlp:
    """L pre-activation blocks (He et al., arXiv:1603.05027) between an input layer and a readout.

    With matrices numbered in their order, W^1 the input layer and W^n the readout, n = L k + 2 for k matrices
    per block:

        h^1 = W^1 x (+ bias)
        k = 1:   h^{l} = h^{l-1} + beta W^l phi(h^{l-1})                          l = 2..L+1
        k = 2:   h^{l} = W^l phi(h^{l-1}),   h^{l+1} = h^{l-1} + beta W^{l+1} phi(h^l)     l = 2, 4, .., 2L
        f = W^n phi(h^{n-1})

    So every h^l but f has an x^l = phi(h^l), as in `ipcore.models.mlp.Mlp`. A parameterization has an entry
    for each matrix: those of blocks are hidden matrices. Biases of a layer are added to its W^l x.

    Attributes:
        branch_multiplier: beta, a name in `BRANCH_MULTIPLIERS`: with L^{-1/2} the sum of L independent
            branches is of order 1 at initialization (arXiv:2310.02244), with 1/L also that of L aligned ones
            (arXiv:2505.01618).
        block_matrices: k, in `BLOCK_MATRICES`.
        normalization: A name in `ipcore.catalogue.NORMALIZATIONS`. With "rms" every phi acts on
            h^l / rms(h^l) in the place of h^l (`ipcore.models.model.Normalizing`).
    """

    branch_multiplier: Annotated[str, 'beta as a function of L: "depth^-1/2", "depth^-1" or "1"'] = (
        "depth^-1/2"
    )
    block_matrices: Annotated[int, Interval(1, 2), "number of weight matrices per block"] = 1
    normalization: NormalizationSetting = "none"

    name: ClassVar[str] = "residual-mlp"

    def problems(self) -> list[str]:
        """Settings that are not among those above."""
        found = normalization_problems(self.normalization)
        if self.branch_multiplier not in BRANCH_MULTIPLIERS:
            known = ", ".join(map(repr, BRANCH_MULTIPLIERS))
            found.append(f"branch_multiplier: must be one of {known}, not {self.branch_multiplier!r}")
        if isinstance(self.block_matrices, bool) or self.block_matrices not in BLOCK_MATRICES:
            found.append(f"block_matrices: must be 1 or 2, not {self.block_matrices!r}")
        return found

    def beta(self, hidden_layers: int) -> float:
        """The branch multiplier at a depth.

        >>> ResidualMlp("depth^-1/2").beta(16), ResidualMlp("depth^-1").beta(16)
        (0.25, 0.0625)
        """
        powers = {"depth^-1/2": 1 / math.sqrt(hidden_layers), "depth^-1": 1 / hidden_layers, "1": 1.0}
        return powers[self.branch_multiplier]

    @property
    def alpha(self) -> Fraction:
        """The branch multiplier is L^{-alpha}."""
        return _ALPHAS[self.branch_multiplier]

    def layers(self, hidden_layers: int) -> int:
        """Those of L blocks, the input layer and the readout."""
        return hidden_layers * self.block_matrices + 2

    def tensors(
        self, hidden_layers: int, input_dim: int, output_dim: int, biases: int
    ) -> tuple[TensorSpec, ...]:
        """w1..wn, then biases."""
        return chain(self.layers(hidden_layers), input_dim, output_dim, biases)

    def forward(self, hidden_layers: int, ops: Operations[V], x: V) -> V:
        """Outputs f of inputs x."""
        beta, layer, ops = self.beta(hidden_layers), 1, normalized(self.normalization, ops)
        h = ops.linear(layer, x)
        for _ in range(hidden_layers):
            branch = h
            for _ in range(self.block_matrices):
                branch = ops.linear(layer + 1, ops.activate(layer, branch))
                layer += 1
            h = ops.add(h, branch, beta)
        return ops.linear(layer + 1, ops.activate(layer, h))
