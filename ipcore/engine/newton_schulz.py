"""Orthogonalization of K matrices at once by matmuls alone: U S V^T becomes nearly U V^T.

A Newton-Schulz step is an odd polynomial of the singular values, computed without finding them:

    X <- a X + (b A + c A^2) X,   A = X X^T,   each singular value s <- a s + b s^3 + c s^5

The coefficients are those of Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon). They do not
converge to 1: they multiply small singular values by 3.4445 per step and then keep them between 0.68 and
1.21. So 5 steps bring every singular value above 1/600 of the Frobenius norm into this range; 0 stays 0. The
matrix is first divided by its largest entry, then by its Frobenius norm, so that gradients of any size that
the number format holds are orthogonalized alike. Which operations run does not depend on the numbers: they
can be replayed (`ipcore.engine.replay`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_NOTHING: Final = (1.0, 0.0, 0.0)  # a step that does not change X


class NewtonSchulz:
    """Buffers and coefficients for matrices of several shapes.

    Args:
        shapes: (outputs, inputs) of the matrices.
        steps: Number of steps of every run, K of them: runs with fewer stop earlier.
        dtype: Number format.
        device: Where the matrices are.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        steps: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        rows = [[COEFFICIENTS if t < n else _NOTHING for n in steps] for t in range(max(steps))]
        self._coefficients = torch.tensor(rows, dtype=dtype, device=device).mT.contiguous()
        K = len(steps)
        largest = max(outputs * inputs for outputs, inputs in shapes)
        smaller = max(min(shape) for shape in shapes)
        self._next = torch.zeros(K * largest, dtype=dtype, device=device)
        self._grams = torch.zeros((2, K * smaller**2), dtype=dtype, device=device)

    def __call__(self, matrices: Tensor) -> Tensor:
        """Orthogonalize matrices (K, outputs, inputs) of one of the shapes; overwrites them.

        Returns:
            As large; valid until the next call. It may be the argument.
        """
        normalize(matrices)
        x, y = matrices, self._next[: matrices.numel()].view_as(matrices)
        wide = x.shape[1] <= x.shape[2]
        side = min(x.shape[1:])
        gram, square = self._grams[:, : len(x) * side * side].view(2, len(x), side, side)
        for a, b, c in self._coefficients.unsqueeze(-1).unsqueeze(-1):
            torch.bmm(*((x, x.mT) if wide else (x.mT, x)), out=gram)
            torch.bmm(gram, gram, out=square).mul_(c).addcmul_(gram, b)
            torch.bmm(*((square, x) if wide else (x, square)), out=y)
            x, y = y.addcmul_(x, a), x
        return x

    def buffers(self) -> list[Tensor]:
        """Every tensor held on the device."""
        return [self._coefficients, self._next, self._grams]


def normalize(matrices: Tensor) -> Tensor:
    """Divide each of K matrices by its Frobenius norm, in place; 0 stays 0.

    >>> normalize(torch.tensor([[[3e-30, 4e-30]], [[0.0, 0.0]]])).tolist()
    [[[0.6000000238418579, 0.800000011920929]], [[0.0, 0.0]]]
    """
    largest = matrices.abs().amax(dim=(1, 2), keepdim=True)
    tiny = torch.finfo(matrices.dtype).tiny
    # Afterwards the largest entry is 1 (less if it is below the normal numbers), or all are 0.
    matrices.div_(largest.clamp_(min=tiny))
    return matrices.div_(torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True).clamp_(min=tiny))
