"""E[phi(a) phi(b)] and E[phi'(a) phi'(b)] for Gaussians a, b: the effect of a layer on kernels.

(a, b) ~ N(0, ((p, c), (c, q))). In closed form for phi = alpha h_+ - beta h_- (Cho & Saul,
2009), erf (Williams, 1997) and sin. For other activations by Mehler's formula with rho = c/sqrt(pq),

    E[phi(a) phi(b)] = sum_k a_k(p) a_k(q) rho^k,   a_k(p) = E[phi(sqrt(p) z) He_k(z)] / sqrt(k!)

and coefficients by quadrature. The remainder of the series is largest at rho = 1, where the sum is E[phi^2]:
the mean square that is missing there, times |rho|^K, estimates the remainder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ipcore.catalogue.activations import LEAKY_SLOPE
from ipcore.models.activations import activation as find_activation

# (alpha, beta) of phi = alpha h_+ - beta h_-, with h_- = max(-h, 0).
_PIECEWISE: Final = {
    "relu": (1.0, 0.0),
    "relu^1": (1.0, 0.0),
    "leaky_relu": (1.0, LEAKY_SLOPE),
    "abs": (1.0, -1.0),
    "identity": (1.0, 1.0),
}
_TERMS: Final = 128
_NODES: Final = 600
_REACH: Final = 12.0  # standard deviations


@dataclass(frozen=True, eq=False, slots=True)
class Dual:
    """E[phi phi] and E[phi' phi'], each of the shape of c.

    Attributes:
        values: E[phi(a) phi(b)].
        slopes: E[phi'(a) phi'(b)].
    """

    values: Tensor
    slopes: Tensor


# (p (n, 1), q (1, k), c (n, k)) -> Dual; double precision.
DualFunction = Callable[[Tensor, Tensor, Tensor], Dual]


def dual(activation: str) -> DualFunction:
    """The dual of an activation by its name; exact to about 1e-13 in closed form.

    By the series exact to 1e-9 where phi is smooth. Where phi' or phi'' jumps (ELU, powers of ReLU) and rho
    is near 1 or -1 the error is at most that of the rest's estimate, about 1e-4 of E[phi'^2].
    """
    if activation in _PIECEWISE:
        alpha, beta = _PIECEWISE[activation]
        return lambda p, q, c: _piecewise(alpha, beta, p, q, c)
    if activation == "erf":
        return _erf
    if activation == "sin":
        return _sin
    return _Series(activation)


def diagonal(activation: str, p: Tensor) -> Dual:
    """E[phi(a)^2] and E[phi'(a)^2] for a ~ N(0, p), by quadrature in one dimension."""
    z, weights = _quadrature(p.device)
    h = p.double().reshape(-1, 1).sqrt() * z
    values, slopes = _both(activation, h)
    return Dual((values.square() @ weights).reshape(p.shape), (slopes.square() @ weights).reshape(p.shape))


def _piecewise(alpha: float, beta: float, p: Tensor, q: Tensor, c: Tensor) -> Dual:
    size = (p * q).sqrt()
    cosine = torch.where(size > 0, c / torch.where(size > 0, size, 1.0), 0.0).clamp(-1.0, 1.0)
    t = torch.arccos(cosine)
    sine = (1 - cosine.square()).clamp(min=0).sqrt()
    near = size * (sine + (math.pi - t) * cosine) / (2 * math.pi)
    far = size * (sine - t * cosine) / (2 * math.pi)
    both, cross = alpha**2 + beta**2, 2 * alpha * beta
    return Dual(both * near - cross * far, (both * (math.pi - t) + cross * t) / (2 * math.pi))


def _erf(p: Tensor, q: Tensor, c: Tensor) -> Dual:
    size = (1 + 2 * p) * (1 + 2 * q)
    values = (2 / math.pi) * torch.asin(2 * c / size.sqrt())
    return Dual(values, (4 / math.pi) / (size - 4 * c.square()).sqrt())


def _sin(p: Tensor, q: Tensor, c: Tensor) -> Dual:
    plus, minus = (c - (p + q) / 2).exp(), (-c - (p + q) / 2).exp()
    return Dual((plus - minus) / 2, (plus + minus) / 2)


class _Series:
    """Mehler's formula for one activation."""

    def __init__(self, activation: str) -> None:
        self._activation = activation

    def __call__(self, p: Tensor, q: Tensor, c: Tensor) -> Dual:
        left, right = self._coefficients(p), self._coefficients(q)
        rho = (c / (p * q).sqrt()).clamp(-1.0, 1.0)
        return Dual(*(self._sum(a, b, rho) for a, b in zip(left, right, strict=True)))

    def _coefficients(self, p: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(a_k(p) (n, K), what is missing of the mean square (n,)) of phi and of phi'."""
        flat = p.reshape(-1)
        exact = diagonal(self._activation, flat)
        z, terms = _quadrature(p.device)[0], _projections(p.device)
        functions = _both(self._activation, flat[:, None].sqrt() * z)
        found = []
        for function, square in zip(functions, (exact.values, exact.slopes), strict=True):
            a = function @ terms.T
            found.append((a, (square - a.square().sum(dim=1)).clamp(min=0)))
        return found

    @staticmethod
    def _sum(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor], rho: Tensor) -> Tensor:
        (a, a_rest), (b, b_rest) = left, right
        total = torch.zeros_like(rho)
        # The remainder is even or odd in rho like the terms that do not vanish; it is largest near 1.
        rest = (a_rest[:, None] * b_rest[None, :]).sqrt()
        total += torch.where(rho > 0, rest, torch.zeros_like(rest))
        for k in range(a.shape[1] - 1, -1, -1):
            total.mul_(rho).addcmul_(a[:, k, None], b[None, :, k])
        return total


@cache
def _projections(device: torch.device) -> Tensor:
    """(terms, nodes): their product with a function's values at the nodes are its coefficients."""
    z, weights = _quadrature(device)
    return _hermite(z, _TERMS) * weights


@cache
def _quadrature(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E over z ~ N(0, 1): Gauss-Legendre on both sides of 0, where activations bend."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES // 2)
    half = (nodes + 1) * _REACH / 2
    z = np.concatenate([-half[::-1], half])
    w = np.concatenate([weights[::-1], weights]) * _REACH / 2
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return torch.from_numpy(z).to(device), torch.from_numpy(w * density).to(device)


def _hermite(z: Tensor, terms: int) -> Tensor:
    """He_k(z) / sqrt(k!), k < terms, (terms, nodes)."""
    rows = [torch.ones_like(z), z.clone()]
    for k in range(1, terms - 1):
        rows.append((z * rows[k] - math.sqrt(k) * rows[k - 1]) / math.sqrt(k + 1))
    return torch.stack(rows[:terms])


def _both(activation: str, h: Tensor) -> tuple[Tensor, Tensor]:
    """phi(h) and phi'(h)."""
    phi = find_activation(activation)
    x, slope = phi.apply(h), torch.ones_like(h)
    phi.backward(slope, h, x)
    return x, slope
