"""Trains K networks of any model: autograd derives the backward pass, matmuls are batched explicitly.

See `ipcore.engine.nodes` for what the operations do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ipcore.engine.engine import Engine, PackShape, Update
from ipcore.engine.nodes import Nodes
from ipcore.models.tally import tally


class AutogradEngine(Engine):
    """K networks of any model; see `ipcore.engine.engine.Engine`."""

    def __init__(
        self,
        shape: PackShape,
        activation: str,
        loss: str,
        dtype: torch.dtype,
        device: torch.device,
        compute: torch.dtype | None = None,
    ) -> None:
        super().__init__(shape, activation, loss, dtype, device, compute)
        self.logits = self.buffer(shape.runs, shape.architecture.output_dim, shape.batch_size).mT
        lone = () if self.activation.keeps_preactivation else tally(shape.architecture).lone
        self._nodes = Nodes(self._matrices, self._offsets, self.activation, lone)

    def scratch(self) -> list[Tensor]:
        """Buffers of the operations, from the first step on."""
        return self._nodes.pool

    def step(self, update: Update) -> None:
        """As `Engine.step`."""
        self._round_weights()
        with torch.inference_mode(False):
            self._nodes.begin(update)
            with torch.enable_grad():
                f = self.shape.architecture.forward(self._nodes, self.inputs)
            with torch.no_grad():
                self.logits.copy_(f)
                self._differentiate_loss()
            torch.autograd.backward(f, self._d_output)
            self._nodes.end()

    def taps(self) -> list[tuple[Tensor, Tensor]]:
        """As `Engine.taps`."""
        found: dict[int, tuple[Tensor, Tensor]] = {}

        def keep(layer: int, dz: Tensor, x: Tensor) -> None:
            # Copies, because the pass goes on to overwrite both.
            found[layer] = dz.to(self.dtype, copy=True), x.to(self.dtype, copy=True)

        self.step(keep)
        return [found[layer] for layer in range(1, self.shape.layers + 1)]
