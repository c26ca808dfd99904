"""A matrix that is the sum of its updates, kept as their factors while that is smaller.

    W = -scale sum_s g_s u_s x_s^T

with one column s for every example of every batch so far. Plain gradient descent fixes g_s when column s is
added; momentum keeps adding to it. As factors, a product with n vectors costs n k (outputs + inputs)
multiply-adds for k columns. Once there are more columns than inputs, W itself is formed and used from
then on: the same numbers, up to rounding. Rows u_s that are exactly 0 stay exactly 0 in both forms.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class GrowingMatrix:
    """A matrix that began as 0, as the sum of its updates.

    Args:
        outputs: Rows of W.
        inputs: Columns of W.
        columns: Columns s there will be: updates times batch size.
        scale: Scale of every column.
        momentum: beta; 0: plain gradient descent.
        dtype: Number format of the factors. Coefficients g are in double precision.
        device: Device of all tensors.
    """

    def __init__(
        self,
        outputs: int,
        inputs: int,
        columns: int,
        *,
        scale: float,
        momentum: float = 0.0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self._shape, self._scale, self._momentum = (outputs, inputs), scale, momentum
        self._most = most_columns(columns, inputs)
        # The factors' memory is taken by the first update (on the CPU, page by page).
        self._u = torch.empty((0, outputs), dtype=dtype, device=device)
        self._x = torch.empty((0, inputs), dtype=dtype, device=device)
        self._g = torch.zeros(self._most, dtype=torch.float64, device=device)
        self._pulse = torch.zeros_like(self._g)
        self._columns = 0
        self._whole: Tensor | None = None
        self._velocity: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """W x of every row of x, (n, inputs) -> (n, outputs)."""
        if self._whole is not None:
            return x @ self._whole.T
        return self._coefficients(self._x, x) @ self._u[: self._columns]

    @property
    def factors(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """(u, x, c) with W = u^T diag(c) x, (k, outputs), (k, inputs), (k,); None once W is formed."""
        if self._whole is not None:
            return None
        k = self._columns
        return self._u[:k], self._x[:k], self._factors()

    def backward(self, u: Tensor) -> Tensor:
        """W^T u of every row of u, (n, outputs) -> (n, inputs)."""
        if self._whole is not None:
            return u @ self._whole
        return self._coefficients(self._u, u) @ self._x[: self._columns]

    def update(self, u: Tensor, x: Tensor, *, rate: float, keep: float = 1.0) -> None:
        """W <- keep W - rate V with the velocity V <- momentum V + scale u^T x.

        Args:
            u: (n, outputs).
            x: (n, inputs).
            rate: Rate for the gradient summed over the batch.
            keep: Factor of weight decay.
        """
        n = len(u)
        if self._whole is None and self._columns + n > self._most:
            self._form()
        if self._whole is not None:
            gradient = u.T @ x * self._scale
            if self._velocity is not None:
                gradient = self._velocity.mul_(self._momentum).add_(gradient)
            self._whole.mul_(keep).sub_(gradient, alpha=rate)
            return
        self._reserve()
        k = self._columns
        self._u[k : k + n].copy_(u)
        self._x[k : k + n].copy_(x)
        self._columns = k + n
        self._pulse[:k] *= self._momentum
        self._pulse[k : k + n] = 1.0
        self._g[: k + n].mul_(keep).add_(self._pulse[: k + n], alpha=rate)

    def forget_velocity(self) -> None:
        """Stop momentum from adding to the present columns."""
        self._pulse[: self._columns] = 0
        if self._velocity is not None:
            self._velocity.zero_()

    def state(self) -> dict[str, Tensor]:
        """Tensors of a checkpoint; the leading size of the factors grows."""
        if self._whole is not None:
            velocity = {} if self._velocity is None else {"velocity": self._velocity}
            return {"whole": self._whole, **velocity}
        k = self._columns
        return {"u": self._u[:k], "x": self._x[:k], "g": self._g[:k], "pulse": self._pulse[:k]}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a `state`."""
        if "whole" in tensors:
            device = self._u.device
            self._release()
            self._whole, self._velocity = tensors["whole"].to(device, copy=True), None
            if "velocity" in tensors:
                self._velocity = tensors["velocity"].to(device, copy=True)
            return
        self._columns = k = len(tensors["g"])
        if k:
            self._reserve()
        for name, buffer in (("u", self._u), ("x", self._x), ("g", self._g), ("pulse", self._pulse)):
            buffer[:k].copy_(tensors[name])

    def _reserve(self) -> None:
        """Allocate the memory of all future columns."""
        if len(self._u) < self._most:
            self._u = self._u.new_empty((self._most, self._u.shape[1]))
            self._x = self._x.new_empty((self._most, self._x.shape[1]))

    def _coefficients(self, factors: Tensor, rows: Tensor) -> Tensor:
        """Inner products of some rows with those of a factor, each column times its -scale g, (n, k)."""
        # In this order the product runs along the rows of both, which takes two thirds of the time.
        inner = factors[: self._columns] @ rows.T
        return inner.mul_(self._factors()[:, None]).T

    def _factors(self) -> Tensor:
        return (self._g[: self._columns] * -self._scale).to(self._u.dtype)

    def _form(self) -> None:
        k = self._columns
        u, x = self._u[:k], self._x[:k]
        self._whole = (u * self._factors()[:, None]).T @ x
        if self._momentum:
            pulse = (self._pulse[:k] * self._scale).to(u.dtype)
            self._velocity = (u * pulse[:, None]).T @ x
        self._release()

    def _release(self) -> None:
        nothing = self._u.new_empty((0, 0))
        self._u = self._x = nothing
        self._columns = self._most = 0


def most_columns(columns: int, inputs: int) -> int:
    """Columns that are kept as factors before the matrix is formed.

    >>> most_columns(1600, 4096), most_columns(1600, 512)
    (1600, 512)
    """
    return min(columns, inputs)
