"""Closed forms against independent quadrature and Monte Carlo, and the kernel machine."""

import math

import numpy as np
import pytest
import torch

from ipcore.catalogue import ACTIVATIONS
from ipcore.engine.inputs import Inputs
from ipcore.engine.losses import LOSSES
from ipcore.limits.dual_activations import diagonal, dual
from ipcore.limits.kernel_machine import KernelMachine
from ipcore.limits.kernels import Kernels
from ipcore.models.activations import activation
from ipcore.planning.kernel_machine import CLOSED_FORMS, SERIES_TERMS, series_terms

CLOSED = ["relu", "leaky_relu", "abs", "identity", "erf", "sin"]
SMOOTH = ["tanh", "sigmoid", "gelu", "silu", "softplus"]
SERIES = [name for name in ACTIVATIONS if name not in CLOSED_FORMS]
CASES = [(1.3, 0.7, 0.5), (0.4, 2.0, -0.6), (1.0, 1.0, 0.95), (0.2, 0.3, 0.0)]


def both(name, h):
    h = torch.from_numpy(h)
    phi = activation(name)
    slope = torch.ones_like(h)
    phi.backward(slope, h.clone(), phi.apply(h))
    return phi.apply(h).numpy(), slope.numpy()


def panels(edges, nodes):
    """Gauss-Legendre nodes and weights between all neighbouring edges."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    left, width = np.asarray(edges)[:-1, None], np.diff(edges)[:, None]
    return (left + (x + 1) / 2 * width).ravel(), (w / 2 * width).ravel()


def by_angle(name, p, q, rho):
    """E over the plane in polar coordinates.

    Kinks and steep parts of both factors lie on the rays a = 0 and b = 0, near which panels shrink.
    """
    r, w = panels([0.0, *np.geomspace(0.02, 10, 12)], 12)
    w = w * r * np.exp(-r * r / 2) / (2 * math.pi)
    # b = sqrt(q) r cos(angle - beta), a = sqrt(p) r cos(angle), cos(beta) = rho
    beta = math.acos(rho)
    rays = [ray + k * math.pi / 2 for ray in (0.0, beta) for k in (-1, 1)]
    near = [0.0, *np.geomspace(1e-4, 3.0, 20)]
    edges = {(ray + side * x) % (2 * math.pi) for ray in rays for side in (-1, 1) for x in near}
    angle, dw = panels(sorted(edges | {0.0, 2 * math.pi}), 12)
    a = both(name, math.sqrt(p) * np.outer(r, np.cos(angle)))
    b = both(name, math.sqrt(q) * np.outer(r, np.cos(angle - beta)))
    return np.array([w @ (x * y) @ dw for x, y in zip(a, b, strict=True)])


def at(name, p, q, c):
    """The dual for variances (n,), (k,) and covariances c, of which there are n k."""
    this = dual(name)
    return this(this.marginals(p), this.marginals(q), c.reshape(len(p), len(q)))


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_are_expectations_over_the_plane(name):
    for p, q, rho in CASES:
        found = dual_of(name, p, q, rho)
        assert found == pytest.approx(by_angle(name, p, q, rho), abs=1e-10)


# Largest errors of values and slopes at variances up to 4, 10 and 100: the accuracy that `dual` promises.
ACCURACY = {
    "tanh": [(1e-9, 1e-7), (1e-7, 1e-5), (2e-4, 5e-3)],
    "sigmoid": [(1e-12, 1e-11), (1e-11, 1e-9), (2e-6, 2e-4)],
    "gelu": [(1e-12, 1e-11), (1e-11, 1e-9), (2e-6, 2e-4)],
    "silu": [(1e-12, 1e-11), (1e-11, 1e-9), (2e-6, 2e-4)],
    "softplus": [(1e-12, 1e-11), (1e-11, 1e-9), (2e-6, 2e-4)],
    "elu": [(1e-7, 2e-5), (1e-7, 5e-5), (1e-6, 3e-4)],
    "relu^2": [(2e-8, 5e-6)] * 3,
    "relu^3/2": [(3e-7, 2e-4)] * 3,
}
CORRELATIONS = [-1, -0.9995, -0.995, -0.95, -0.5, 0, 0.7, 0.98, 0.999, 1]


@pytest.mark.parametrize("name", ACCURACY)
def test_series_are_as_exact_as_promised_at_all_variances_and_correlations(name):
    """Relative to the means of squares; p, q from 1e-3 to 1e2, rho from -1 to 1."""
    for most, tolerances in zip((4, 10, 100), ACCURACY[name], strict=True):
        for p, q in [(1e-3, most), (most, most), (most / 4, most)]:
            squares = [by_angle(name, x, x, 1) for x in (p, q)]
            for rho in CORRELATIONS:
                errors = (dual_of(name, p, q, rho) - by_angle(name, p, q, rho)) / np.sqrt(np.prod(squares, 0))
                assert (abs(errors) <= tolerances).all(), (p, q, rho, errors)


def dual_of(name, p, q, rho):
    """[value, slope]."""
    c = rho * math.sqrt(p * q)
    found = at(name, *(torch.tensor([x], dtype=torch.float64) for x in (p, q, c)))
    return np.array([float(found.values), float(found.slopes)])


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "elu"])
def test_a_variance_of_0_is_the_constant_phi_at_0(name):
    """An input of length 0 without a bias."""
    phi, slope = both(name, np.zeros(1))
    z, w = panels(np.linspace(-10, 10, 41), 20)
    w = w * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    wanted = [phi[0] * (w @ both(name, z)[0]), slope[0] * (w @ both(name, z)[1])]
    if name != "relu":  # phi'(0) is not defined
        assert dual_of(name, 0.0, 1.0, 0.0) == pytest.approx(wanted, abs=1e-6)
    assert dual_of(name, 0.0, 1.0, 0.0)[0] == pytest.approx(wanted[0], abs=1e-6)


@pytest.mark.parametrize("name", [*SERIES, "relu^2", "relu^3", "relu^3/2"])
def test_as_many_terms_are_added_as_estimates_count(name):
    """But for the polynomial part's few."""
    a = dual(name).marginals(torch.tensor([10.0], dtype=torch.float64))[0, 1 : 1 + SERIES_TERMS].abs()
    assert int((a > 1e-9 * a.max()).sum()) == pytest.approx(series_terms(name), abs=2)


@pytest.mark.parametrize("name", [*CLOSED, *SMOOTH, "elu"])
def test_at_equal_inputs_they_are_the_diagonal(name):
    p = torch.tensor([0.3, 1.7], dtype=torch.float64)
    wanted = diagonal(name, p)
    found = at(name, p, p, torch.diag(p))
    assert torch.allclose(found.values.diagonal(), wanted.values, atol=1e-12)
    assert torch.allclose(found.slopes.diagonal(), wanted.slopes, atol=1e-12)


def test_piecewise_linear_activations_at_the_ends_of_the_correlation():
    one = torch.ones(1, dtype=torch.float64)
    same, opposite = at("relu", one, one, one), at("relu", one, one, -one)
    assert [float(x) for x in (same.values, same.slopes)] == pytest.approx([0.5, 0.5])
    assert [float(x) for x in (opposite.values, opposite.slopes)] == pytest.approx([0.0, 0.0], abs=1e-12)
    zero = at("relu", 0 * one, one, 0 * one)  # an input of length 0 without a bias
    assert float(zero.values) == 0


@pytest.mark.parametrize("biased", [True, False])
def test_kernels_are_those_of_a_wide_network(biased):
    """Monte Carlo: f_0's covariance and the sum of products of gradients of a network of width 2,000."""
    rng = torch.Generator().manual_seed(0)
    d, m, L, s = 4, 2000, 2, math.sqrt(2.0)
    x = torch.randn(3, d, generator=rng, dtype=torch.float64)
    S, T = Kernels(L, "relu", d, biased=biased, learns=(True,) * 3).at(x, x)
    xi = torch.cat([x, torch.ones(3, 1, dtype=torch.float64)], dim=1) if biased else x
    w = torch.randn(m, d + biased, generator=rng, dtype=torch.float64) * s / math.sqrt(d + biased)
    if biased:
        w[:, -1] *= math.sqrt(d + 1)
    W = torch.randn(m, m, generator=rng, dtype=torch.float64) * s
    v = torch.randn(1, m, generator=rng, dtype=torch.float64)

    def f(w, W, v):
        return torch.relu(torch.relu(xi @ w.T) @ W.T / m**0.5) @ v.T / m**0.5

    rows = [torch.autograd.functional.jacobian(lambda *t, i=i: f(*t)[i, 0], (w, W, v)) for i in range(3)]
    flat = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    measured = flat @ flat.T
    assert torch.linalg.norm(measured - T) < 0.1 * torch.linalg.norm(T)
    hidden = torch.relu(torch.relu(xi @ w.T) @ W.T / m**0.5)
    assert torch.linalg.norm(hidden @ hidden.T / m - S) < 0.1 * torch.linalg.norm(S)


def test_layers_that_do_not_learn_add_nothing():
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    parts = [
        Kernels(2, "relu", 4, biased=True, learns=[i == layer for i in range(3)]).at(x, x)[1]
        for layer in range(3)
    ]
    S, whole = Kernels(2, "relu", 4, biased=True, learns=[True] * 3).at(x, x)
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(parts[2], S)  # a trained readout: the kernel of the Gaussian process


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_machine_is_descent_in_function_space(momentum):
    rng = torch.Generator().manual_seed(1)
    x, test = (torch.randn(n, 4, generator=rng, dtype=torch.float64) for n in (6, 3))
    y = torch.randint(3, (6,), generator=rng)
    kernels = Kernels(2, "relu", 4, biased=True, learns=[True] * 3)
    machine = KernelMachine(
        kernels, Inputs(x), torch.arange(6), {"test": test}, outputs=3, loss=LOSSES["cross_entropy"],
        momentum=momentum, starts_at_zero=False,
    )  # fmt: skip
    everything = torch.cat([x, test])
    T = kernels.at(everything, everything)[1]
    f = torch.cat([machine.first("")[0], machine.outputs("test")[0]])
    velocity = torch.zeros_like(f)
    for batch in ([0, 1], [2, 5], [1, 3], [0, 4], [0, 1]):
        rows = torch.tensor(batch)
        leaf = f[rows].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(leaf, y[rows]), leaf)
        (found,) = machine.update(rows, y[rows], [0.2])
        torch.testing.assert_close(found, f[rows])
        velocity = momentum * velocity + T[:, rows] @ gradient
        f = f - 0.2 * velocity
        torch.testing.assert_close(machine.outputs("test")[0], f[6:])


def test_f_0_is_drawn_from_the_gaussian_process():
    rng = torch.Generator().manual_seed(4)
    x, test = (torch.randn(n, 4, generator=rng, dtype=torch.float64) for n in (2, 2))
    kernels = Kernels(1, "erf", 4, biased=True, learns=[True] * 2)
    drawn = []
    for seed in range(100):
        machine = KernelMachine(
            kernels, Inputs(x), torch.arange(2), {"test": test}, outputs=50, loss=LOSSES["mse"], momentum=0.0,
            seed=seed, starts_at_zero=False,
        )  # fmt: skip
        drawn.append(torch.cat([machine.first("")[0], machine.outputs("test")[0]]))
    f = torch.cat(drawn, dim=1)
    everything = torch.cat([x, test])
    S = kernels.at(everything, everything)[0]
    assert torch.allclose(f @ f.T / f.shape[1], S, atol=0.1)
