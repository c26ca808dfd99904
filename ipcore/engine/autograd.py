"""Trains K networks of any model: a tape derives the backward pass, matmuls are batched explicitly.

See `ipcore.engine.nodes` for what the operations do.
"""

from __future__ import annotations

from torch import Tensor

from ipcore.engine.engine import Engine, Update
from ipcore.engine.nodes import Nodes
from ipcore.models.tally import tally


class AutogradEngine(Engine):
    """K networks of any model; see `ipcore.engine.engine.Engine`."""

    def prepare(self) -> None:
        """As `Engine.prepare`."""
        shape = self.shape
        self.logits = self.buffer(shape.runs, shape.architecture.output_dim, shape.batch_size).mT
        lone = () if self.activation.keeps_preactivation else tally(shape.architecture).lone
        self._nodes = Nodes(self._matrices, self._offsets, self.activation, lone)

    def scratch(self) -> list[Tensor]:
        """Buffers of the operations, from the first step on."""
        return self._nodes.pool

    def step(self, update: Update) -> None:
        """As `Engine.step`."""
        self._round_weights()
        f = self.shape.architecture.forward(self._nodes, self._nodes.begin(self.inputs))
        self.logits.copy_(f.tensor)
        self._differentiate_loss()
        self._nodes.backward(f, self._d_output, update)

    def taps(self) -> list[tuple[Tensor, Tensor]]:
        """As `Engine.taps`."""
        found: dict[int, tuple[Tensor, Tensor]] = {}

        def keep(layer: int, dz: Tensor, x: Tensor) -> None:
            # Copies, because the pass overwrites both afterwards.
            found[layer] = dz.to(self.dtype, copy=True), x.to(self.dtype, copy=True)

        self.step(keep)
        return [found[layer] for layer in range(1, self.shape.layers + 1)]
