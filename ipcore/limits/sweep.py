"""Outputs of a system of particles at many inputs, a block of particles at a time.

Layers exchange inner products alone, one for every input and column of a matrix. So the values of a layer are
needed for one block of particles at a time: they stay in a processor's cache, and memory for the values of
all particles at all inputs is neither taken nor touched, which costs more time than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ipcore.limits.cost import BLOCK
from ipcore.models.activations import Activation

Factors = tuple[Tensor, Tensor, Tensor]


def swept_outputs(xi: Tensor, w: Tensor, hidden: Sequence[Factors], v: Tensor, phi: Activation) -> Tensor:
    """Outputs f at inputs.

    Args:
        xi: (n, d + 1).
        w: First layer, (N, d + 1).
        hidden: (u, x, c) of each hidden matrix u^T diag(c) x: (k, N), (k, N), (k,).
        v: Readout, (C, N).
        phi: Activation.

    Returns:
        (n, C).
    """
    writes = [w.T, *(u for u, _, _ in hidden)]
    reads = [*(x for _, x, _ in hidden), v]
    scales: list[Tensor | float] = [*(c for _, _, c in hidden), 1 / w.shape[0]]
    carried = xi
    for write, read, scale in zip(writes, reads, scales, strict=True):
        carried = _layer(carried, write, read, phi) * scale
    return carried


def _layer(coordinates: Tensor, write: Tensor, read: Tensor, phi: Activation) -> Tensor:
    """phi(coordinates @ write) @ read^T: (n, j), (j, N), (k, N) -> (n, k)."""
    n, particles = len(coordinates), write.shape[1]
    found = coordinates.new_zeros((n, len(read)))
    step = max(1, BLOCK // n)
    for start in range(0, particles, step):
        here = slice(start, start + step)
        values = coordinates @ write[:, here]
        phi.forward(values, values)
        found.addmm_(values, read[:, here].T)
    return found
