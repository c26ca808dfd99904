"""The operations of a forward pass as nodes of autograd's graph that compute into tensors allocated once.

In the backward pass a matmul's node passes its derivative and its input to the optimizer instead of computing
a gradient by its matrix. So the optimizer can apply its update inside the matmul that computes the gradient,
as in `ipcore.engine.pack`.

Rule for nodes: the receiver of a derivative owns it and may overwrite it. If a value was used more than once,
autograd passes on the sum of the derivatives of its uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ipcore.engine.engine import Update
from ipcore.models import rms
from ipcore.models.activations import Activation


class Nodes:
    """Operations on K networks (`ipcore.models.model.Operations`); values have shape (K, B, size).

    Args:
        matrices: What matmuls read, (K, outputs, inputs) of each layer.
        offsets: Biases of the first layers, (K, 1, outputs).
        activation: phi.
        lone: For each activation of a pass, whether its value may take the place of the preactivation
            (`ipcore.models.tally.Tally`); (): of none.

    Attributes:
        pool: What operations compute into, in the order in which a pass comes to it. The first pass makes it.
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        offsets: Sequence[Tensor],
        activation: Activation,
        lone: Sequence[bool] = (),
    ) -> None:
        self.matrices, self.offsets, self.activation = matrices, offsets, activation
        self._lone, self._activated = lone, 0
        self.pool: list[Tensor] = []
        self._taken = 0
        # Weights are no leaves of the graph, since nobody asks for their gradients. This is the only one.
        self._root = torch.zeros((), device=matrices[0].device, requires_grad=True)
        self._uses = [0] * len(matrices)
        self._derived: list[list[tuple[Tensor, Tensor]]] = [[] for _ in matrices]
        self._update: Update = _no_pass

    def begin(self, update: Update) -> None:
        """Begin a pass whose backward calls `update` once for every layer that was used."""
        self._taken, self._activated, self._update = 0, 0, update
        self._uses = [0] * len(self.matrices)

    def end(self) -> None:
        """End the pass. Drops `update`, which usually refers back to this object."""
        self._update = _no_pass

    def linear(self, layer: int, x: Tensor) -> Tensor:
        """The matmul x W^T, plus the bias if there is one."""
        self._uses[layer - 1] += 1
        z: Tensor = _Linear.apply(  # type: ignore[no-untyped-call]
            x, None if x.requires_grad else self._root, self, layer
        )
        return z

    def activate(self, layer: int, h: Tensor) -> Tensor:
        """phi(h)."""
        x: Tensor = _Activate.apply(h, self)  # type: ignore[no-untyped-call]
        return x

    def normalize(self, layer: int, h: Tensor) -> Tensor:
        """The quotient of h and its root mean square."""
        y: Tensor = _Normalize.apply(h, self)  # type: ignore[no-untyped-call]
        return y

    def add(self, h: Tensor, branch: Tensor, scale: float) -> Tensor:
        """The sum h + scale * branch."""
        total: Tensor = _Add.apply(h, branch, scale, self)  # type: ignore[no-untyped-call]
        return total

    def take(self, like: Tensor, size: int, *, by_class: bool = False) -> Tensor:
        """The next tensor of the pool, (K, B, size).

        Args:
            like: A value of K networks and B examples.
            size: Numbers per example.
            by_class: Whether the numbers of all examples lie beside each other, as the loss likes it.
        """
        if self._taken == len(self.pool):
            runs, examples, _ = like.shape
            self.pool.append(
                like.new_empty(runs, size, examples).mT if by_class else like.new_empty(runs, examples, size)
            )
        self._taken += 1
        return self.pool[self._taken - 1]

    def activated(self, h: Tensor) -> Tensor:
        """Where the value of the pass's next activation goes: a tensor of the pool, or that of h itself."""
        number, self._activated = self._activated, self._activated + 1
        return h.detach() if self._lone and self._lone[number] else self.take(h, h.shape[-1])

    def derived(self, layer: int, dz: Tensor, x: Tensor) -> None:
        """Record one use of a layer; after the last use, update it with the sum of the gradients of all uses.

        Rows of dz and x are examples, so the gradient of all uses is that of all their rows.
        """
        if self._uses[layer - 1] == 1:
            self._update(layer, dz, x)
            return
        uses = self._derived[layer - 1]
        uses.append((dz.clone(), x))
        if len(uses) == self._uses[layer - 1]:
            joined = torch.cat([dz for dz, _ in uses], dim=1), torch.cat([x for _, x in uses], dim=1)
            uses.clear()
            self._update(layer, *joined)


def _no_pass(_layer: int, _dz: Tensor, _x: Tensor) -> None:
    raise RuntimeError("a backward pass without its forward pass")


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, root: Tensor | None, nodes: Nodes, layer: int) -> Tensor:
        matrix, last = nodes.matrices[layer - 1], layer == len(nodes.matrices)
        z = nodes.take(x, matrix.shape[1], by_class=last)
        # There is no derivative by the network's inputs. When it is made, whoever used z is done with it.
        ctx.dx = None
        if root is None:
            ctx.dx = z if z.shape == x.shape and not last else nodes.take(x, x.shape[-1])
        ctx.x, ctx.nodes, ctx.layer = x, nodes, layer
        one, two, out = (matrix, x.mT, z.mT) if last else (x, matrix.mT, z)
        if layer <= len(nodes.offsets):
            bias = nodes.offsets[layer - 1]
            torch.baddbmm(bias.mT if last else bias, one, two, out=out)
        else:
            torch.bmm(one, two, out=out)
        return z.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        (dz,) = gradients
        if ctx.dx is not None:
            torch.bmm(dz, ctx.nodes.matrices[ctx.layer - 1], out=ctx.dx)
        ctx.nodes.derived(ctx.layer, dz, ctx.x)
        return None if ctx.dx is None else ctx.dx.detach(), None, None, None


class _Activate(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, nodes: Nodes) -> Tensor:
        x = nodes.activated(h)
        nodes.activation.forward(h, x)
        ctx.h, ctx.x, ctx.activation = h, x, nodes.activation
        return x.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (dx,) = gradients
        ctx.activation.backward(dx, ctx.h, ctx.x)
        return dx, None


class _Normalize(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, nodes: Nodes) -> Tensor:
        y, r, mean = (nodes.take(h, size) for size in (h.shape[-1], 1, 1))
        rms.forward(h, y, r)
        # Nobody's derivative needs h itself: whoever else uses it adds it to a sum.
        ctx.y, ctx.r, ctx.mean, ctx.products = y, r, mean, h.detach()
        return y.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (dy,) = gradients
        rms.backward(dy, ctx.y, ctx.r, ctx.products, ctx.mean)
        return dy, None


class _Add(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, branch: Tensor, scale: float, nodes: Nodes) -> Tensor:
        total = nodes.take(h, h.shape[-1])
        # Whoever used the sum is done with it when its derivative comes back.
        ctx.d_branch, ctx.scale = total, scale
        torch.add(h, branch, alpha=scale, out=total)
        return total.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (dh,) = gradients
        torch.mul(dh, ctx.scale, out=ctx.d_branch)
        return dh, ctx.d_branch.detach(), None, None
