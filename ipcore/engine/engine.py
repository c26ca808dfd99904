"""Training of K networks of one shape at once: the protocol of all engines, and their common part.

An engine makes updates (`step`), evaluates (`infer`), holds tensors (`state`) and exposes the inputs and
derivatives of its matmuls (`taps`). `ipcore.engine.autograd` does so for any model; `ipcore.engine.pack` is
written by hand for the multilayer perceptron, and tests compare it with the former.

Engines train the *effective* weights W^l (`ipcore.models.scales`). Rows are examples: values have shape
(K, B, size), W^l has shape (K, outputs, inputs). Each run has its own batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ipcore.engine.inputs import Inputs
from ipcore.engine.losses import LOSSES, correct
from ipcore.models import Architecture
from ipcore.models.activations import activation as find_activation
from ipcore.models.apply import apply

# (l, dz^l, x) updates layer l = 1..n with the gradient of the loss summed over the batch, dz^T x, where the
# layer was applied to x and dz is the derivative by its output. It may overwrite dz; the pass overwrites both
# afterwards.
Update = Callable[[int, Tensor, Tensor], None]


@dataclass(frozen=True, slots=True)
class PackShape:
    """Sizes of K networks that train together.

    Attributes:
        runs: K.
        architecture: Architecture of each network.
        batch_size: B, examples per update and run.
        biases: Layers with a bias, counted from the first: 0, 1 or all.
        target_dim: Real numbers per label, k; 0: labels are classes.
    """

    runs: int
    architecture: Architecture
    batch_size: int
    biases: int
    target_dim: int = 0

    @property
    def layers(self) -> int:
        """Number n of weight matrices."""
        return self.architecture.layers

    @property
    def dims(self) -> tuple[int, ...]:
        """Input dimension d and the output dimension of each layer; n+1 entries."""
        return (self.architecture.input_dim, *self.architecture.outputs)


class Engine(ABC):
    """K networks and the batch that they train on.

    Attributes:
        shape: Sizes.
        weights: Effective weights W^l, one tensor (K, outputs, inputs) per layer.
        biases: Effective biases of the layers that have one, (K, 1, outputs) each, first layer first.
        losses: Mean loss of each run on the batch of the newest step, (K,).
        logits: f on the batch of the newest step, (K, B, C).
        labels: Labels of the batch of the newest step, (K, B), or (K, B, k) where they are targets.
        dtype: Number format of weights, losses and logits.
        compute: Number format of activations and derivatives, and of the copies of the weights that matmuls
            read.
    """

    logits: Tensor

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
        K, B, C = shape.runs, shape.batch_size, shape.architecture.output_dim
        matrices = shape.architecture.matrices
        self.weights = [self.buffer(K, *sizes) for sizes in matrices]
        self.biases = [self.buffer(K, 1, outputs) for outputs, _ in matrices[: shape.biases]]
        self.inputs = self.values(K, B, shape.architecture.input_dim)
        # Logits lie class by class: reductions over ten classes are vectorized over the examples.
        self._d_logits = self.buffer(K, C, B).mT
        # Operands of matmuls: copies if they compute in a smaller format than the weights', else the weights.
        self.rounded = self.compute != dtype
        self._matrices, self._offsets, self._d_output = self.weights, self.biases, self._d_logits
        self._gradient = self._d_logits
        if self.rounded:
            self._matrices = [self.values(*weight.shape) for weight in self.weights]
            self._offsets = [self.values(*bias.shape) for bias in self.biases]
            self._d_output = self.values(K, C, B).mT
            self._gradient = self.values(max(weight.numel() for weight in self.weights))
        self._indices = torch.zeros((K, B), dtype=torch.int32, device=device)
        self.labels = torch.zeros((K, B), dtype=torch.int64, device=device)
        if shape.target_dim:
            self.labels = self.buffer(K, B, shape.target_dim)
        self.losses = self.buffer(K)
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Set `logits`, and allocate the buffers of the passes."""

    def buffer(self, *size: int) -> Tensor:
        """A new tensor of the weights' number format."""
        return torch.zeros(size, dtype=self.dtype, device=self.device)

    def values(self, *size: int) -> Tensor:
        """A new tensor of the number format of activations."""
        return torch.zeros(size, dtype=self.compute, device=self.device)

    def buffers(self) -> list[Tensor]:
        """Every tensor that is held on the device from step to step, once each."""
        tensors = [*self.weights, *self.biases, self.inputs, self._d_logits, *self.scratch()]
        tensors += [self._indices, self.labels, self.losses, self.logits]
        tensors += [*self._matrices, *self._offsets, self._d_output, self._gradient]
        return list({tensor.data_ptr(): tensor for tensor in tensors}.values())

    def state(self) -> dict[str, Tensor]:
        """The trained tensors by their names in checkpoints: the tensors themselves."""
        tensors = {f"W{layer}": weight for layer, weight in enumerate(self.weights, start=1)}
        return tensors | {f"B{layer}": bias for layer, bias in enumerate(self.biases, start=1)}

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
        inputs.gather(flat, self.inputs.view(flat.numel(), -1))
        torch.index_select(labels, 0, flat, out=self.labels.view(flat.numel(), *labels.shape[1:]))

    @abstractmethod
    def step(self, update: Update) -> None:
        """One update of every run on the gathered batch; `losses` and `logits` are those before it.

        Args:
            update: Called once for every layer, from the last to the first.
        """

    @abstractmethod
    def taps(self) -> list[tuple[Tensor, Tensor]]:
        """(dz, x) of every layer on the gathered batch, of the loss summed over it (see `Update`).

        The x may be valid until the next pass alone.
        """

    @abstractmethod
    def scratch(self) -> list[Tensor]:
        """Further tensors of this kind of engine."""

    def infer(self, inputs: Tensor) -> Tensor:
        """Logits of all runs on the same inputs, in full precision, outside the training buffers.

        Args:
            inputs: (n, d) on the device.

        Returns:
            (K, n, C).
        """
        return apply(self.shape.architecture, self.activation, self.weights, self.biases, inputs)

    def correct(self) -> Tensor:
        """Number of correctly classified examples of the newest batch, per run, (K,)."""
        return correct(self.logits.contiguous(), self.labels).sum(dim=1)

    def add_gradient(self, target: Tensor, dz: Tensor, x: Tensor) -> None:
        """Target += dz^T x of every run: the gradient by a weight matrix, added by the matmul itself."""
        if self.rounded:
            target.add_(self._rounded_gradient(target, dz, x))
        else:
            target.baddbmm_(dz.mT, x)

    def write_gradient(self, target: Tensor, dz: Tensor, x: Tensor) -> None:
        """Target = dz^T x of every run."""
        if self.rounded:
            target.copy_(self._rounded_gradient(target, dz, x))
        else:
            torch.bmm(dz.mT, x, out=target)

    def _rounded_gradient(self, target: Tensor, dz: Tensor, x: Tensor) -> Tensor:
        gradient = self._gradient[: target.numel()].view_as(target)
        return torch.bmm(dz.mT, x, out=gradient)

    def _round_weights(self) -> None:
        """Bring the copies that matmuls read up to date."""
        if self.rounded:
            for copy, weight in zip(self._matrices, self.weights, strict=True):
                copy.copy_(weight)
            for copy, bias in zip(self._offsets, self.biases, strict=True):
                copy.copy_(bias)

    def _differentiate_loss(self) -> None:
        """Write `losses`, and the derivative of the summed loss by `logits` into `_d_output`."""
        summed = self.loss.value_and_derivative(self.logits, self.labels, self._d_logits)
        torch.div(summed, self.shape.batch_size, out=self.losses)
        if self.rounded:
            self._d_output.copy_(self._d_logits)
