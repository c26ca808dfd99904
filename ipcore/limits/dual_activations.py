"""E[phi(a) phi(b)] and E[phi'(a) phi'(b)] for Gaussians a, b: the effect of a layer on kernels.

(a, b) ~ N(0, ((p, c), (c, q))). There are closed forms for phi = alpha h_+ - beta h_- (Cho & Saul, Kernel
Methods for Deep Learning, NIPS 2009), erf (Williams, Computing with Infinite Networks, NIPS 1996) and sin.
Other activations use Mehler's formula with rho = c/sqrt(pq),

    E[phi(a) phi(b)] = sum_k a_k(p) a_k(q) rho^k,   a_k(p) = E[phi(sqrt(p) z) He_k(z)] / sqrt(k!)

with coefficients by quadrature, once for each p. Even k belong to the even part of phi, odd k to its odd
part. Where phi bends fast (tanh at a large variance) or has a kink, a_k decay slowly, and terms beyond the
last one count near rho = 1 and -1. They continue the last even and the last odd term as geometric series

    a_k(p) a_k(q) rho^k (1 + x + x^2 + ...),   x = rho^2 s(p) s(q),   s(p)^2 = 1 - a_k(p)^2 / R(p)

with R(p) the mean square of the part less that of its terms before k: exact at p = q and rho = 1 or -1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from ipcore.catalogue.activations import LEAKY_SLOPE
from ipcore.models.activations import activation as find_activation
from ipcore.planning.kernel_machine import CLOSED_FORMS, NODES, SERIES_TERMS

# (alpha, beta) of phi = alpha h_+ - beta h_-, with h_- = max(-h, 0).
_PIECEWISE: Final = {
    "relu": (1.0, 0.0),
    "relu^1": (1.0, 0.0),
    "leaky_relu": (1.0, LEAKY_SLOPE),
    "abs": (1.0, -1.0),
    "identity": (1.0, 1.0),
}
_REACH: Final = 12.0  # standard deviations
# A term whose coefficients are at most this, beside the largest, is left out.
_NEGLIGIBLE: Final = 1e-17
# Bounds of divisors, where a part of phi or its last term is 0 up to rounding.
_TINY: Final = 1e-300
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, eq=False, slots=True)
class Dual:
    """E[phi phi] and E[phi' phi'], each of the shape of c.

    Attributes:
        values: E[phi(a) phi(b)].
        slopes: E[phi'(a) phi'(b)].
    """

    values: Tensor
    slopes: Tensor


class DualFunction(Protocol):
    """The dual of an activation. All numbers are in double precision."""

    def marginals(self, p: Tensor) -> Tensor:
        """Quantities of Gaussians with variances p (n,) that the dual needs: rows (n, K), p first."""

    def __call__(self, left: Tensor, right: Tensor, c: Tensor) -> Dual:
        """The dual for marginals (n, K) and (k, K), and covariances (n, k)."""


def dual(activation: str) -> DualFunction:
    """The dual of an activation by its name.

    Closed forms are exact to about 1e-13. The slopes of ReLU, leaky ReLU and |h| change like sqrt(1 - |rho|)
    near rho = 1 and -1, where rounding of rho moves them by up to 2e-8.

    Errors of a series are largest near rho = 0.995 and -0.995. Measured for variances from 1e-3 to a largest
    one and rho from -1 to 1, relative to means of phi^2 (`values`) and of phi'^2 (`slopes`), they are below

        largest variance                        4             10            100
        GELU, SiLU, sigmoid, softplus      1e-12, 1e-11   1e-11, 1e-9   2e-6, 2e-4
        tanh                               1e-9, 1e-7     1e-7, 1e-5    2e-4, 5e-3
        ELU                                1e-7, 2e-5     1e-7, 5e-5    1e-6, 3e-4

    and at every variance 2e-8 and 5e-6 for ReLU^2, 3e-7 and 2e-4 for ReLU^(3/2), more for smaller powers:
    2e-6 and 2e-3 for ReLU^(11/10).
    """
    if activation not in CLOSED_FORMS:
        return _Series(activation)
    if activation in _PIECEWISE:
        return _Closed(partial(_piecewise, *_PIECEWISE[activation]))
    return _Closed({"erf": _erf, "sin": _sin}[activation])


def diagonal(activation: str, p: Tensor) -> Dual:
    """E[phi(a)^2] and E[phi'(a)^2] for a ~ N(0, p), by quadrature in one dimension."""
    z, weights = _quadrature(p.device)
    h = p.double().reshape(-1, 1).sqrt() * z
    values, slopes = _both(activation, h)
    return Dual((values.square() @ weights).reshape(p.shape), (slopes.square() @ weights).reshape(p.shape))


def _piecewise(alpha: float, beta: float, p: Tensor, q: Tensor, c: Tensor) -> Dual:
    size, cosine = (p * q).sqrt(), _correlation(p, q, c)
    # In place where nothing else reads: this takes most of a kernel's memory.
    t = torch.arccos(cosine)
    sine = (1 - cosine.square()).clamp_(min=0).sqrt_()
    near = (sine + (math.pi - t).mul_(cosine)).mul_(size).div_(2 * math.pi)
    far = sine.sub_(cosine.mul_(t)).mul_(size).div_(2 * math.pi)
    both, cross = alpha**2 + beta**2, 2 * alpha * beta
    values = near.mul_(both).sub_(far.mul_(cross))
    slopes = (math.pi - t).mul_(both).add_(t.mul_(cross)).div_(2 * math.pi)
    return Dual(values, slopes)


def _correlation(p: Tensor, q: Tensor, c: Tensor) -> Tensor:
    """Correlation rho = c/sqrt(pq) in [-1, 1]; 0 where a variance is 0."""
    size = (p * q).sqrt()
    return torch.where(size > 0, c / torch.where(size > 0, size, 1.0), 0.0).clamp_(-1.0, 1.0)


def _erf(p: Tensor, q: Tensor, c: Tensor) -> Dual:
    size = (1 + 2 * p) * (1 + 2 * q)
    values = (2 / math.pi) * torch.asin(2 * c / size.sqrt())
    return Dual(values, (4 / math.pi) / (size - 4 * c.square()).sqrt())


def _sin(p: Tensor, q: Tensor, c: Tensor) -> Dual:
    plus, minus = (c - (p + q) / 2).exp(), (-c - (p + q) / 2).exp()
    return Dual((plus - minus) / 2, (plus + minus) / 2)


@dataclass(frozen=True, slots=True)
class _Closed:
    """A formula of p (n, 1), q (1, k) and c (n, k)."""

    formula: Callable[[Tensor, Tensor, Tensor], Dual]

    def marginals(self, p: Tensor) -> Tensor:
        return p.double()[:, None]

    def __call__(self, left: Tensor, right: Tensor, c: Tensor) -> Dual:
        return self.formula(left, right.T, c)


class _Series:
    """Mehler's formula for one activation.

    A marginal is p, the coefficients of phi and of phi', and of both the s(p) of even and of odd terms.
    """

    def __init__(self, activation: str) -> None:
        self._activation = activation

    def marginals(self, p: Tensor) -> Tensor:
        z, weights = _quadrature(p.device)
        functions = _both(self._activation, p.double()[:, None].sqrt() * z)
        both = [function @ _projections(p.device).T for function in functions]
        ratios = [
            _ratios(a, part.square() @ weights)
            for a, function in zip(both, functions, strict=True)
            for part in [torch.stack([function + function.flip(1), function - function.flip(1)], dim=1) / 2]
        ]
        return torch.cat((p.double()[:, None], *both, *ratios), dim=1)

    def __call__(self, left: Tensor, right: Tensor, c: Tensor) -> Dual:
        rho = _correlation(left[:, :1], right[:, 0], c)
        K = SERIES_TERMS
        phi, slope = slice(1, K + 1), slice(K + 1, 2 * K + 1)
        return Dual(
            _sum(left[:, phi], right[:, phi], left[:, -4:-2], right[:, -4:-2], rho),
            _sum(left[:, slope], right[:, slope], left[:, -2:], right[:, -2:], rho),
        )


def _ratios(a: Tensor, squares: Tensor) -> Tensor:
    """Ratios s of the even and of the odd terms.

    Args:
        a: Coefficients, (n, K).
        squares: Mean squares of the even and of the odd part, (n, 2).

    Returns:
        (n, 2); below 1, so that no series diverges.
    """
    parts = a.reshape(len(a), -1, 2).square()
    last = parts[:, -1]
    rest = (squares - parts[:, :-1].sum(dim=1)).clamp(min=0)
    found: Tensor = 1 - last / torch.maximum(rest, last).clamp(min=_TINY)
    return found.clamp(max=1 - _ROUNDING).sqrt()


def _sum(a: Tensor, b: Tensor, s: Tensor, t: Tensor, rho: Tensor) -> Tensor:
    """The series at rho (n, k), from coefficients (n, K), (k, K) and ratios (n, 2), (k, 2)."""
    # Half of the terms vanish if phi is odd, or even but for a linear part; the last ones if it is smooth.
    most = a.abs().amax(dim=0) * b.abs().amax(dim=0)
    kept = torch.nonzero(most > _NEGLIGIBLE * most.max()).squeeze(-1).tolist()
    powers = {1: rho, 2: rho.square()}
    total, above = torch.zeros_like(rho), a.shape[1]
    for k in reversed(kept):  # Horner's rule
        total.mul_(powers[above - k] if above - k in powers else rho ** (above - k))
        if (part := k - a.shape[1] + 2) >= 0:
            continued = (powers[2] * s[:, part, None]).mul_(t[:, part]).neg_().add_(1)
            total.add_((a[:, k, None] * b[:, k]).div_(continued))
        else:
            total.addcmul_(a[:, k, None], b[:, k])
        above = k
    return total.mul_(rho**above)


@cache
def _projections(device: torch.device) -> Tensor:
    """(terms, nodes): their product with a function's values at the nodes are its coefficients."""
    z, weights = _quadrature(device)
    return _hermite(z, SERIES_TERMS) * weights


@cache
def _quadrature(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E over z ~ N(0, 1): Gauss-Legendre on both sides of 0, where activations bend."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES // 2)
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
