"""What the networks do on the fixed examples: every layer forward and backward, in tensors of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ipcore.engine.pack import Pack


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """Some runs of a pack at one step, on the fixed examples.

    Lists begin with layer 0, the input, so that x[l] is x^l; h[0] and so on are not used. A list is empty
    where no probe asks for it.

    Attributes:
        weights: Effective weights W^l, (K, outputs, inputs).
        h: Preactivations h^l, (K, n, outputs); h^{L+1} is f.
        x: Activations x^l, (K, n, m); x^0 is (K, n, d).
        dh: Derivative of each example's own loss by its h^l, (K, n, outputs).
    """

    weights: list[Tensor]
    h: list[Tensor]
    x: list[Tensor]
    dh: list[Tensor]


def forward(pack: Pack, runs: slice, inputs: Tensor) -> State:
    """h^l = x^{l-1} W^{l T} (+ bias), x^l = phi(h^l) of some runs.

    Args:
        pack: Networks; only their weights are read.
        runs: Which.
        inputs: (n, d), the same for every run.
    """
    weights = [weight[runs] for weight in pack.weights]
    x = [inputs.expand(weights[0].shape[0], *inputs.shape)]
    h = [x[0]]
    for layer, weight in enumerate(weights, start=1):
        biased = layer <= len(pack.biases)
        bias = pack.biases[layer - 1][runs] if biased else None
        h.append(torch.bmm(x[-1], weight.mT) if bias is None else torch.baddbmm(bias, x[-1], weight.mT))
        if layer < len(weights):
            x.append(pack.activation.apply(h[-1]))
    return State([weights[0], *weights], h, x, [])


def backward(pack: Pack, state: State, labels: Tensor) -> State:
    """The state with its dh^l: dh^{l-1} = dh^l W^l * phi'(h^{l-1}), from the loss of each example.

    Args:
        pack: Their activation and loss.
        state: Of `forward`.
        labels: Of the fixed examples.
    """
    f = state.h[-1]
    dh = [torch.empty_like(f)]
    pack.loss.value_and_derivative(f, labels.expand(f.shape[0], *labels.shape), dh[0])
    for layer in range(len(state.weights) - 1, 1, -1):
        below = torch.bmm(dh[0], state.weights[layer])
        pack.activation.backward(below, state.h[layer - 1], state.x[layer - 1])
        dh.insert(0, below)
    return State(state.weights, state.h, state.x, [dh[0], *dh])
