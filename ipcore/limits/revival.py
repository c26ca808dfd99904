"""Neurons of the last hidden layer that the first step left off, and that a later input turns on.

Under HP and IP-LLR the initial matrix of a layer counts m^{-1/2} after step 0. In the limit it no longer
moves h, but where h is exactly 0 it decides the sign: a ReLU neuron of layer L that was off on all of batch 0
has h = m^{-1/2} zeta with zeta = (W_0^L x)_row, and phi' = 1 where zeta > 0. Its derivative dx^L = v df is of
order 1, so that it learns from then on. (Below layer L derivatives of such neurons are of order m^{-1/2}.)

zeta is revealed step by step, jointly with h_0 (`ipcore.limits.deferred`): rows with u_0 = 0 are not affected
by what the transposed matrix has answered.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ipcore.limits.deferred import DeferredMatrix


class Dormant:
    """The rows of layer L that have not learned anything yet.

    Args:
        rows: Their numbers.
        matrix: The rows of G, where W_0^L = s/sqrt(N) G.
    """

    def __init__(self, rows: Tensor, matrix: DeferredMatrix) -> None:
        self._rows, self._matrix = rows, matrix

    @classmethod
    def of(cls, x: Tensor, h: Tensor, u: Tensor, std: float, questions: int) -> Dormant:
        """The rows that the first step has left off.

        Args:
            x: x_0^{L-1} on batch 0, (B, N).
            h: h_0^L = s/sqrt(N) G x_0, (B, N): the first answers.
            u: u_0^L, (B, N).
            std: s.
            questions: Inputs that will be asked about, those of batch 0 among them.
        """
        rows = torch.nonzero((u == 0).all(dim=0)).squeeze(-1)
        matrix = DeferredMatrix(len(rows), x.shape[1], questions, 0, x.dtype, x.device)
        matrix.learn(x, h[:, rows] * (x.shape[1] ** 0.5 / std))
        return cls(rows, matrix)

    @classmethod
    def restored(
        cls, tensors: Mapping[str, Tensor], particles: int, questions: int, device: str | torch.device
    ) -> Dormant:
        """From a `state`."""
        rows = tensors["rows"].to(device, copy=True)
        matrix = DeferredMatrix(len(rows), particles, questions, 0, tensors["answers"].dtype, device)
        matrix.load_state({name: tensor for name, tensor in tensors.items() if name != "rows"})
        return cls(rows, matrix)

    def __len__(self) -> int:
        return len(self._rows)

    def on(self, h: Tensor, x: Tensor, normals: np.random.Generator) -> Tensor:
        """Where phi' of layer L is 1 although h is exactly 0: 1 there, else 0, (n, N).

        Args:
            h: h^L, (n, N).
            x: x^{L-1}, (n, N).
            normals: Source of the new normals.
        """
        found = torch.zeros_like(h)
        if len(self._rows):
            zeta = self._matrix.forward(x, normals)
            found[:, self._rows] = ((zeta > 0) & (h[:, self._rows] == 0)).to(h.dtype)
        return found

    def learned(self, u: Tensor) -> None:
        """Forget the rows that learn from u^L, (n, N)."""
        off = (u[:, self._rows] == 0).all(dim=0)
        if not bool(off.all()):
            self._rows = self._rows[off]
            self._matrix.keep_outputs(off)

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint."""
        return {"rows": self._rows, **self._matrix.state()}
