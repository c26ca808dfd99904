"""The tensors of one layer that formulas of quantities read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from ipcore.models.activations import Activation
from ipcore.models.apply import phi
from ipcore.models.rms import normalized
from ipcore.probes.single_update import IsolatedUpdate
from ipcore.probes.state import State

T = TypeVar("T")


@dataclass(frozen=True, eq=False, slots=True)
class Initial:
    """The tensors of step 0 that are kept, of some runs.

    Attributes:
        weights: Effective weights W_0^l of every layer, (K, outputs, inputs); empty if no formula reads them.
        h: h_0^l by layer, (K, n, outputs); empty likewise.
        inputs: x^0, (n, d).
        activation: phi.
        normalized: Layers whose h^l is normalized before it enters phi.
    """

    weights: Sequence[Tensor]
    h: Mapping[int, Tensor]
    inputs: Tensor
    activation: Activation
    normalized: Collection[int] = ()

    def x(self, layer: int) -> Tensor:
        """x_0^l of a layer that has an activation, (K, n, m); x^0 is the input."""
        if layer == 0:
            return self.inputs
        h = self.h[layer]
        return phi(normalized(h) if layer in self.normalized else h, self.activation)


class Layer:
    """A layer of some runs at step t; the notation is that of docs/probes.md.

    Attributes:
        multipliers: m^{-a_l} of every run, (K,) float64.
        isolated: One update of the layer from step 0; None at step 0, or if no formula reads it.
    """

    def __init__(
        self,
        layer: int,
        now: State,
        initial: Initial,
        multipliers: Tensor,
        isolated: IsolatedUpdate | None = None,
    ) -> None:
        self._layer, self._now, self._step_0 = layer, now, initial
        self.multipliers, self.isolated = multipliers, isolated
        self._newest: tuple[Callable[[Layer], Any], Any] | None = None

    @property
    def h(self) -> Tensor:
        """h_t^l, (K, n, outputs)."""
        return self._now.h[self._layer]

    @property
    def h_0(self) -> Tensor:
        """h_0^l, (K, n, outputs)."""
        return self._step_0.h[self._layer]

    @property
    def x(self) -> Tensor:
        """x_t^l, (K, n, m); the last layer has none."""
        return self._now.x[self._layer]

    @cached_property
    def x_0(self) -> Tensor:
        """x_0^l, (K, n, m)."""
        return self._step_0.x(self._layer)

    @property
    def below(self) -> Tensor:
        """Input of W_t^l, (K, n, inputs): x_t^{l-1} in a multilayer perceptron."""
        return self._now.below[self._layer]

    @property
    def below_0(self) -> Tensor:
        """x_0^{l-1}, (K, n, inputs); computed at every use."""
        return self._step_0.x(self._layer - 1)

    @property
    def weights(self) -> Tensor:
        """W_t^l, (K, outputs, inputs)."""
        return self._now.weights[self._layer]

    @property
    def initial(self) -> Tensor:
        """W_0^l, (K, outputs, inputs)."""
        return self._step_0.weights[self._layer - 1]

    @cached_property
    def update(self) -> Tensor:
        """W_t^l - W_0^l, (K, outputs, inputs)."""
        return self.weights - self.initial

    @property
    def dh(self) -> Tensor:
        """Derivative of each example's own loss by h_t^l, (K, n, outputs)."""
        return self._now.dh[self._layer]

    @property
    def dz(self) -> Tensor:
        """Derivative of each example's own loss by W_t^l x, (K, n, outputs)."""
        return self._now.dz[self._layer]

    def undefined(self) -> Tensor:
        """The value of a formula where it is not defined, (K,) float64."""
        return torch.full_like(self.multipliers, torch.nan)

    def mean_size(self, values: Tensor) -> Tensor:
        """Mean |value| of every run, summed in double precision; (K, a, b) -> (K,) float64."""
        return values.abs().mean(dim=(1, 2), dtype=torch.float64)

    def once(self, compute: Callable[[Layer], T]) -> T:
        """`compute(self)`, kept until another function is asked for.

        So intermediate results of neighbouring quantities are computed once and not held longer than needed.
        """
        if self._newest is None or self._newest[0] is not compute:
            self._newest = None
            self._newest = compute, compute(self)
        found: T = self._newest[1]
        return found
