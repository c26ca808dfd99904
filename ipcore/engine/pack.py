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

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ipcore.engine.inputs import Inputs
from ipcore.engine.losses import LOSSES, correct
from ipcore.models.activations import activation as find_activation

# (l, dh^l, x^{l-1}) updates layer l = 1..L+1 with the gradient of the loss summed over the batch; it may
# overwrite dh^l.
Update = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True, slots=True)
class PackShape:
    """Sizes of a pack.

    Attributes:
        runs: K.
        dims: Input dimension d, m once per hidden layer, outputs C; L+2 entries.
        batch_size: B, examples per update and run.
        biases: Layers with a bias, counted from the first: 0, 1 or L+1.
        target_dim: Real numbers per label, k; 0: labels are classes.
    """

    runs: int
    dims: tuple[int, ...]
    batch_size: int
    biases: int
    target_dim: int = 0

    @property
    def layers(self) -> int:
        """L+1 weight matrices."""
        return len(self.dims) - 1


class Pack:
    """Weights of K networks and the buffers that train them.

    Attributes:
        shape: Sizes.
        weights: Effective weights W^l, one tensor (K, outputs, inputs) per layer.
        biases: Effective biases of the layers that have one, (K, 1, outputs) each, first layer first.
        losses: Mean loss of each run on the batch of the newest step, (K,).
        logits: f on the batch of the newest step, (K, B, C).
        labels: Labels of the batch of the newest step, (K, B), or (K, B, k) where they are targets.
        dtype: Of weights, losses and logits.
        compute: Of activations and derivatives, and of the copies of the weights that matmuls read.
    """

    def __init__(
        self,
        shape: PackShape,
        activation: str,
        loss: str,
        dtype: torch.dtype,
        device: torch.device,
        compute: torch.dtype | None = None,
    ) -> None:
        self.shape = shape
        self.activation = find_activation(activation)
        self.loss = LOSSES[loss]
        self.dtype, self.device = dtype, device
        self.compute = compute or dtype
        K, B, dims = shape.runs, shape.batch_size, shape.dims

        def buffer(*size: int, dtype: torch.dtype = dtype) -> Tensor:
            return torch.zeros(size, dtype=dtype, device=device)

        def activations(*size: int) -> Tensor:
            return buffer(*size, dtype=self.compute)

        self.weights = [buffer(K, out, inp) for inp, out in pairwise(dims)]
        self.biases = [buffer(K, 1, out) for out in dims[1 : 1 + shape.biases]]
        # Logits lie class by class: reductions over ten classes are vectorized over the examples.
        self._x = [*(activations(K, B, n) for n in dims[:-1]), activations(K, dims[-1], B).mT]
        # h^l lies over x^l unless the activation's derivative needs both; the readout has no activation.
        split = self.activation.keeps_preactivation
        self._h = [
            activations(K, B, n) if split and 0 < layer < len(dims) - 1 else x
            for layer, (n, x) in enumerate(zip(dims, self._x, strict=True))
        ]
        # Two derivative buffers take turns: dh^l is not needed once dx^{l-1} and the update are made.
        self._d_hidden = [activations(K, B, dims[1]) for _ in range(min(2, shape.layers - 1))]
        self._d_logits = buffer(K, dims[-1], B).mT
        # What matmuls read: copies, where they compute in less than the weights have, else the weights.
        self._rounded = self.compute != dtype
        self._matrices, self._offsets, self._d_output = self.weights, self.biases, self._d_logits
        self._gradient = self._d_logits
        if self._rounded:
            self._matrices = [activations(*weight.shape) for weight in self.weights]
            self._offsets = [activations(*bias.shape) for bias in self.biases]
            self._d_output = activations(K, dims[-1], B).mT
            self._gradient = activations(max(weight.numel() for weight in self.weights))
        self._transposed = [matrix.mT for matrix in self._matrices[:-1]]
        self._readout = self._matrices[-1], self._x[-2].mT, self._x[-1].mT
        self._indices = torch.zeros((K, B), dtype=torch.int32, device=device)
        self.labels = torch.zeros((K, B), dtype=torch.int64, device=device)
        if shape.target_dim:
            self.labels = buffer(K, B, shape.target_dim)
        self.losses = buffer(K)
        self.logits = buffer(K, dims[-1], B).mT if self._rounded else self._x[-1]

    def buffers(self) -> list[Tensor]:
        """Every tensor that the pack holds on its device, once each."""
        tensors = [*self.weights, *self.biases, *self._x, *self._h, *self._d_hidden, self._d_logits]
        tensors += [self._indices, self.labels, self.losses, self.logits]
        tensors += [*self._matrices, *self._offsets, self._d_output, self._gradient]
        return list({tensor.data_ptr(): tensor for tensor in tensors}.values())

    def gather(self, inputs: Inputs, labels: Tensor, batches: Tensor, slot: Tensor) -> None:
        """Fetch every run's batch.

        Args:
            inputs: Training inputs.
            labels: Training labels, (n,) or (n, k).
            batches: Indices of the batch of each distinct seed, (S, B), int32.
            slot: Row of `batches` that belongs to each run, (K,).
        """
        torch.index_select(batches, 0, slot, out=self._indices)
        flat = self._indices.view(-1)
        inputs.gather(flat, self._x[0].view(flat.numel(), -1))
        torch.index_select(labels, 0, flat, out=self.labels.view(flat.numel(), *labels.shape[1:]))

    def forward(self) -> None:
        """Compute every layer on the gathered batch."""
        if self._rounded:
            for copy, weight in zip(self._matrices, self.weights, strict=True):
                copy.copy_(weight)
            for copy, bias in zip(self._offsets, self.biases, strict=True):
                copy.copy_(bias)
        for layer, transposed in enumerate(self._transposed, start=1):
            if layer <= len(self._offsets):
                bias = self._offsets[layer - 1]
                torch.baddbmm(bias, self._x[layer - 1], transposed, out=self._h[layer])
            else:
                torch.bmm(self._x[layer - 1], transposed, out=self._h[layer])
            self.activation.forward(self._h[layer], self._x[layer])
        readout, below, logits = self._readout
        if len(self._offsets) == self.shape.layers:
            torch.baddbmm(self._offsets[-1].mT, readout, below, out=logits)
        else:
            torch.bmm(readout, below, out=logits)
        if self._rounded:
            self.logits.copy_(self._x[-1])

    def backward(self, update: Update | None) -> list[Tensor]:
        """Compute the loss and every dh^l of the newest forward pass, and update the weights on the way.

        Args:
            update: Called from the last layer to the first. None: no update; instead the dh^l are returned.

        Returns:
            With `update` None, copies of dh^1..dh^{L+1} (of the loss summed over the batch), else [].
        """
        kept: list[Tensor] = []
        summed = self.loss.value_and_derivative(self.logits, self.labels, self._d_logits)
        torch.div(summed, self.shape.batch_size, out=self.losses)
        dh = self._d_output
        if self._rounded:
            dh.copy_(self._d_logits)
        for layer in range(self.shape.layers, 0, -1):
            below = dh
            if layer > 1:
                below = self._d_hidden[layer % 2 if len(self._d_hidden) > 1 else 0]
                torch.bmm(dh, self._matrices[layer - 1], out=below)
                self.activation.backward(below, self._h[layer - 1], self._x[layer - 1])
            if update is None:
                kept.append(dh.to(self.dtype, copy=True))
            else:
                update(layer, dh, self._x[layer - 1])
            dh = below
        return kept[::-1]

    def add_gradient(self, target: Tensor, dh: Tensor, x: Tensor) -> None:
        """Target += dh^T x of every run: the gradient by a weight matrix, added by the matmul itself."""
        if self._rounded:
            target.add_(self._rounded_gradient(target, dh, x))
        else:
            target.baddbmm_(dh.mT, x)

    def write_gradient(self, target: Tensor, dh: Tensor, x: Tensor) -> None:
        """Target = dh^T x of every run."""
        if self._rounded:
            target.copy_(self._rounded_gradient(target, dh, x))
        else:
            torch.bmm(dh.mT, x, out=target)

    def _rounded_gradient(self, target: Tensor, dh: Tensor, x: Tensor) -> Tensor:
        gradient = self._gradient[: target.numel()].view_as(target)
        return torch.bmm(dh.mT, x, out=gradient)

    def train_step(self, update: Update) -> None:
        """One update of every run on the gathered batch; `losses` are those before it."""
        self.forward()
        self.backward(update)

    def correct(self) -> Tensor:
        """Examples of the newest batch that are classified rightly, per run, (K,)."""
        return correct(self.logits.contiguous(), self.labels).sum(dim=1)

    def activations(self) -> list[Tensor]:
        """x^0..x^L of the newest forward pass, each (K, B, n); valid until the next."""
        return [x.to(self.dtype) for x in self._x[:-1]]

    def infer(self, inputs: Tensor) -> Tensor:
        """Logits of all runs on the same inputs, outside the training buffers.

        Args:
            inputs: (n, d) on the pack's device.

        Returns:
            (K, n, C).
        """
        x = inputs.expand(self.shape.runs, *inputs.shape)
        for layer, weight in enumerate(self.weights, start=1):
            biased = layer <= len(self.biases)
            h = torch.baddbmm(self.biases[layer - 1], x, weight.mT) if biased else torch.bmm(x, weight.mT)
            if layer < self.shape.layers:
                self.activation.forward(h, h)
            x = h
        return x
