"""Values and derivatives of every layer on the fixed examples, in separate tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipcore.engine.engine import Engine
from ipcore.models.apply import Batched


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """Some runs of a pack at one step, on the fixed examples.

    Tensors are found by their layer l = 1..n. Derivatives are computed only if a probe needs them.

    Attributes:
        weights: Effective weights W^l, (K, outputs, inputs).
        below: Input of W^l, (K, n, inputs): x^{l-1} in a multilayer perceptron.
        h: h^l, (K, n, outputs); the last is f.
        x: x^l = phi(h^l), of normalized h^l where the model says so, (K, n, m); the last layer has none.
        dz: Derivative of each example's own loss by W^l x, (K, n, outputs).
        dh: By h^l, which is W^l x (+ bias) unless a residual block adds to it.
        normalized: Layers whose x^l is phi(h^l / rms(h^l)).
    """

    weights: dict[int, Tensor]
    below: dict[int, Tensor]
    h: dict[int, Tensor]
    x: dict[int, Tensor]
    dz: dict[int, Tensor]
    dh: dict[int, Tensor]
    normalized: frozenset[int]


def look(engine: Engine, runs: slice, inputs: Tensor, labels: Tensor | None = None) -> State:
    """All layers of some runs.

    Args:
        engine: Networks; only their weights are read.
        runs: Positions of the runs.
        inputs: (n, d), the same for every run; not an inference tensor if there are labels.
        labels: Labels of these inputs; None: there is no backward pass.
    """
    with torch.inference_mode(False), torch.set_grad_enabled(labels is not None):
        weights = [weight[runs] for weight in engine.weights]
        taps = _Taps(weights, [bias[runs] for bias in engine.biases], engine)
        x = inputs.expand(len(weights[0]), *inputs.shape)
        f = engine.shape.architecture.forward(taps, x)
        taps.h[engine.shape.layers] = f
        dz: dict[int, Tensor] = {}
        dh: dict[int, Tensor] = {}
        if labels is not None:
            with torch.no_grad():
                df = torch.empty_like(f)
                engine.loss.value_and_derivative(f, labels.expand(len(f), *labels.shape), df)
            found = torch.autograd.grad(f, [*taps.z.values(), *taps.h.values()], df)
            dz = dict(zip(taps.z, found, strict=False))
            dh = dict(zip(taps.h, found[len(dz) :], strict=True))
    h, x_of, below = ({layer: t.detach() for layer, t in d.items()} for d in (taps.h, taps.x, taps.below))
    return State(dict(enumerate(weights, start=1)), below, h, x_of, dz, dh, frozenset(taps.normalized))


class _Taps(Batched):
    """Operations that keep their outputs, by layer."""

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], engine: Engine) -> None:
        super().__init__(weights, biases, engine.activation)
        self.below: dict[int, Tensor] = {}
        self.z: dict[int, Tensor] = {}
        self.h: dict[int, Tensor] = {}
        self.x: dict[int, Tensor] = {}
        self.normalized: set[int] = set()

    def linear(self, layer: int, x: Tensor) -> Tensor:
        """As `Batched.linear`."""
        z = super().linear(layer, x)
        if torch.is_grad_enabled() and not z.requires_grad:
            z.requires_grad_()  # nothing below the first layer is differentiated
        self.below[layer], self.z[layer] = x, z
        return z

    def normalize(self, layer: int, h: Tensor) -> Tensor:
        """As `Batched.normalize`."""
        self.h[layer] = h
        self.normalized.add(layer)
        return super().normalize(layer, h)

    def activate(self, layer: int, h: Tensor) -> Tensor:
        """As `Batched.activate`."""
        x = self.x[layer] = super().activate(layer, h)
        self.h.setdefault(layer, h)
        return x
