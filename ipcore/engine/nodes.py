"""Operations of a forward pass on a tape that differentiates them in reverse; tensors are allocated once.

In the backward pass a matmul passes its derivative and its input to the optimizer instead of computing a
gradient by its matrix. So the optimizer can apply its update inside the matmul that computes the gradient, as
in `ipcore.engine.pack`.

Rule of the backward pass: the receiver of a derivative owns it and may overwrite it. The derivative by a
value that was used several times is the sum of those of its uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipcore.engine.engine import Update
from ipcore.models import rms
from ipcore.models.activations import Activation

# Backward pass of an operation, from the derivative by its output.
Back = Callable[[Tensor, Update], None]


@dataclass(eq=False, slots=True)
class Value:
    """A value of K networks in a pass.

    Attributes:
        tensor: (K, B, size).
        trained: Whether it depends on a tensor that is trained.
        derivative: Derivative of the losses by it, accumulated so far in the backward pass; it has the shape
            of `tensor`.
    """

    tensor: Tensor
    trained: bool = True
    derivative: Tensor | None = None

    def receive(self, derivative: Tensor) -> None:
        """Add the derivative of one use."""
        self.derivative = derivative if self.derivative is None else self.derivative.add_(derivative)


class Nodes:
    """Operations on K networks (`ipcore.models.model.Operations`).

    Args:
        matrices: Operands of matmuls, (K, outputs, inputs) of each layer.
        offsets: Biases of the first layers, (K, 1, outputs).
        activation: phi.
        lone: For each activation of a pass, whether its value may take the place of the preactivation
            (`ipcore.models.tally.Tally`); (): of none.

    Attributes:
        pool: Buffers of the operations, in the order of the pass. The first pass allocates them.
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        offsets: Sequence[Tensor],
        activation: Activation,
        lone: Sequence[bool] = (),
    ) -> None:
        self._matrices, self._offsets, self._activation, self._lone = matrices, offsets, activation, lone
        self._transposed = [matrix.mT for matrix in matrices]
        self.pool: list[Tensor] = []
        self._taken = self._activated = 0
        self._tape: list[tuple[Value, Back]] = []
        self._uses: list[int] = []
        self._derived: list[list[tuple[Tensor, Tensor]]] = [[] for _ in matrices]

    def begin(self, inputs: Tensor) -> Value:
        """Begin a pass; returns its inputs as a value."""
        self._taken = self._activated = 0
        self._tape.clear()
        self._uses = [0] * len(self._matrices)
        return Value(inputs, trained=False)

    def backward(self, output: Value, derivative: Tensor, update: Update) -> None:
        """End the pass: differentiate, and call `update` once for every layer that was used."""
        output.receive(derivative)
        while self._tape:
            value, back = self._tape.pop()
            if value.derivative is not None:
                back(value.derivative, update)

    def linear(self, layer: int, x: Value) -> Value:
        """The matmul x W^T, plus the bias if there is one."""
        matrix, transposed = self._matrices[layer - 1], self._transposed[layer - 1]
        last = layer == len(self._matrices)
        self._uses[layer - 1] += 1
        z = self._take(x.tensor, matrix.shape[1], by_class=last)
        one, two, out = (matrix, x.tensor.mT, z.mT) if last else (x.tensor, transposed, z)
        if layer <= len(self._offsets):
            bias = self._offsets[layer - 1]
            torch.baddbmm(bias.mT if last else bias, one, two, out=out)
        else:
            torch.bmm(one, two, out=out)
        dx: Tensor | None = None
        if x.trained:
            # When the derivative by x is computed, all uses of z are finished.
            dx = z if z.shape == x.tensor.shape and not last else self._take(x.tensor, x.tensor.shape[-1])

        def back(dz: Tensor, update: Update) -> None:
            if dx is not None:
                x.receive(torch.bmm(dz, matrix, out=dx))
            self._derive(layer, dz, x.tensor, update)

        return self._noted(z, back)

    def activate(self, layer: int, h: Value) -> Value:
        """phi(h)."""
        number, self._activated = self._activated, self._activated + 1
        lone = bool(self._lone) and self._lone[number]
        x = h.tensor if lone else self._take(h.tensor, h.tensor.shape[-1])
        self._activation.forward(h.tensor, x)

        def back(dx: Tensor, _update: Update) -> None:
            self._activation.backward(dx, h.tensor, x)
            h.receive(dx)

        return self._noted(x, back)

    def normalize(self, layer: int, h: Value) -> Value:
        """The quotient of h and its root mean square."""
        y, r, mean = (self._take(h.tensor, size) for size in (h.tensor.shape[-1], 1, 1))
        rms.forward(h.tensor, y, r)

        def back(dy: Tensor, _update: Update) -> None:
            # No derivative needs h itself: its other uses only add it to a sum.
            rms.backward(dy, y, r, h.tensor, mean)
            h.receive(dy)

        return self._noted(y, back)

    def add(self, h: Value, branch: Value, scale: float) -> Value:
        """The sum h + scale * branch."""
        total = self._take(h.tensor, h.tensor.shape[-1])
        torch.add(h.tensor, branch.tensor, alpha=scale, out=total)

        def back(dh: Tensor, _update: Update) -> None:
            # All uses of the sum are finished when its derivative is known.
            branch.receive(torch.mul(dh, scale, out=total))
            h.receive(dh)

        return self._noted(total, back)

    def _noted(self, tensor: Tensor, back: Back) -> Value:
        value = Value(tensor)
        self._tape.append((value, back))
        return value

    def _take(self, like: Tensor, size: int, *, by_class: bool = False) -> Tensor:
        """The next tensor of the pool, (K, B, size).

        Args:
            like: A value of K networks and B examples.
            size: Numbers per example.
            by_class: Whether numbers of the same class are contiguous over the examples, as the loss needs.
        """
        if self._taken == len(self.pool):
            runs, examples, _ = like.shape
            self.pool.append(
                like.new_empty(runs, size, examples).mT if by_class else like.new_empty(runs, examples, size)
            )
        self._taken += 1
        return self.pool[self._taken - 1]

    def _derive(self, layer: int, dz: Tensor, x: Tensor, update: Update) -> None:
        """Record one use of a layer; after the last use, update it with the sum of the gradients of all uses.

        Rows of dz and x are examples, so the gradient of all uses is that of all their rows.
        """
        if self._uses[layer - 1] == 1:
            update(layer, dz, x)
            return
        uses = self._derived[layer - 1]
        uses.append((dz.clone(), x))
        if len(uses) == self._uses[layer - 1]:
            joined = torch.cat([dz for dz, _ in uses], dim=1), torch.cat([x for _, x in uses], dim=1)
            uses.clear()
            update(layer, *joined)
