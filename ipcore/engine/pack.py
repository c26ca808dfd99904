"""A pack: K networks of one shape, trained by one batched matmul per layer.

Parameterizations differ only in scalars per layer, so runs of different parameterizations, rates and seeds
share one graph. Forward and backward are written by hand on buffers allocated once, and each layer is updated
on the way back, so that with plain gradient descent no gradient is ever stored:

    forward     h^l = x^{l-1} W^{l T} (+ bias),   x^l = phi(h^l)
    backward    dx^{l-1} = dh^l W^l,   dh^{l-1} = dx^{l-1} * phi'(h^{l-1})
    update      W^l from its gradient (dh^l)^T x^{l-1}    (see `ipcore.engine.optimizers`)

Rows are examples: x^l has shape (K, B, m), W^l (K, outputs, inputs). Each run has its own batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ipcore.engine.engine import Engine, Update
from ipcore.models import HAND_WRITTEN
from ipcore.models.mlp import perceptron


class Pack(Engine):
    """K multilayer perceptrons and the buffers that train them; see `ipcore.engine.engine.Engine`.

    It also implements the operations of its forward pass (`ipcore.models.model.Layers`), which write into
    buffers that are allocated once.
    """

    def prepare(self) -> None:
        """As `Engine.prepare`. Raises TypeError: a model that is not a plain multilayer perceptron."""
        shape = self.shape
        if shape.architecture.model not in HAND_WRITTEN:
            raise TypeError(f"a pack trains plain multilayer perceptrons, not {shape.architecture.model}")
        K, B, dims = shape.runs, shape.batch_size, shape.dims
        self._x = [self.inputs, *(self.values(K, B, n) for n in dims[1:-1]), self.values(K, dims[-1], B).mT]
        # h^l lies over x^l unless the activation's derivative needs both; the readout has no activation.
        split = self.activation.keeps_preactivation
        self._h = [
            self.values(K, B, n) if split and 0 < layer < len(dims) - 1 else x
            for layer, (n, x) in enumerate(zip(dims, self._x, strict=True))
        ]
        # Two derivative buffers take turns: dh^l is not needed once dx^{l-1} and the update are made.
        self._d_hidden = [self.values(K, B, dims[1]) for _ in range(min(2, shape.layers - 1))]
        self._transposed = [matrix.mT for matrix in self._matrices[:-1]]
        # Logits lie class by class, and are computed so.
        self._readout = self._matrices[-1], self._x[-2].mT, self._x[-1].mT
        self.logits = self.buffer(K, dims[-1], B).mT if self.rounded else self._x[-1]

    def scratch(self) -> list[Tensor]:
        """Activations, preactivations and derivatives."""
        return [*self._x, *self._h, *self._d_hidden]

    def linear(self, layer: int, x: Tensor) -> Tensor:
        """The matmul x W^T, plus the bias if there is one, in the layer's buffer."""
        bias = self._offsets[layer - 1] if layer <= len(self._offsets) else None
        one, two, out = x, x, self._h[layer]
        if layer < self.shape.layers:
            two = self._transposed[layer - 1]
        else:
            one, two, out = self._readout
            bias = None if bias is None else bias.mT
        if bias is None:
            torch.bmm(one, two, out=out)
        else:
            torch.baddbmm(bias, one, two, out=out)
        return self._h[layer]

    def activate(self, layer: int, h: Tensor) -> Tensor:
        """phi(h) in the layer's buffer, which may be that of h."""
        self.activation.forward(h, self._x[layer])
        return self._x[layer]

    def forward(self) -> None:
        """Compute every layer on the gathered batch."""
        self._round_weights()
        f = perceptron(self.shape.architecture.hidden_layers, self, self.inputs)
        if self.rounded:
            self.logits.copy_(f)

    def step(self, update: Update) -> None:
        """As `Engine.step`."""
        self.forward()
        self._backward(update)

    def taps(self) -> list[tuple[Tensor, Tensor]]:
        """As `Engine.taps`."""
        found: list[tuple[Tensor, Tensor]] = []

        def keep(_layer: int, dh: Tensor, x: Tensor) -> None:
            found.append((dh.to(self.dtype, copy=True), x.to(self.dtype)))

        self.step(keep)
        return found[::-1]

    def _backward(self, update: Update) -> None:
        """Compute the loss and every dh^l of the newest forward pass, and update the weights on the way."""
        self._differentiate_loss()
        dh = self._d_output
        for layer in range(self.shape.layers, 0, -1):
            below = dh
            if layer > 1:
                below = self._d_hidden[layer % 2 if len(self._d_hidden) > 1 else 0]
                torch.bmm(dh, self._matrices[layer - 1], out=below)
                self.activation.backward(below, self._h[layer - 1], self._x[layer - 1])
            update(layer, dh, self._x[layer - 1])
            dh = below
