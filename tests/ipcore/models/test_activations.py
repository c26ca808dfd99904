"""Activations in place, forward and backward, against autograd in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from ipcore.catalogue import ACTIVATIONS as NAMES
from ipcore.catalogue import find_activation
from ipcore.errors import ConfigError
from ipcore.models.activations import ACTIVATIONS, activation
from ipcore.theory import ACTIVATIONS as COVERED

REFERENCE = {
    "relu": torch.relu,
    "leaky_relu": lambda h: torch.where(h > 0, h, 0.01 * h),
    "gelu": functional.gelu,
    "elu": functional.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda h: h * 1,
    "silu": lambda h: h * torch.sigmoid(h),
    "softplus": lambda h: torch.log1p(torch.exp(h)),
    "erf": torch.erf,
    "abs": torch.abs,
    "sin": torch.sin,
    "relu^2": lambda h: torch.relu(h) ** 2,
    "relu^3/2": lambda h: torch.where(h > 0, h.clamp(min=1e-300) ** 1.5, 0 * h),
    "relu^1": torch.relu,
}


def test_there_is_code_and_a_reference_for_every_name_of_the_catalogue():
    assert set(ACTIVATIONS) == set(NAMES)
    assert set(NAMES) < set(REFERENCE)
    # Theory does not cover all activations, but all that it covers can be trained.
    assert set(NAMES) - set(COVERED) == {"sin"}
    assert set(COVERED) <= set(NAMES)


@pytest.mark.parametrize("name", REFERENCE)
def test_value_and_derivative_are_those_of_autograd(name: str):
    phi = activation(name)
    torch.manual_seed(0)
    h = torch.cat([3 * torch.randn(200, dtype=torch.float64), torch.tensor([-30.0, 30.0]).double()])
    leaf = h.clone().requires_grad_()
    expected = REFERENCE[name](leaf)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    assert torch.allclose(phi.apply(h), expected, rtol=1e-10, atol=1e-12)
    kept = h.clone()
    x = torch.empty_like(h) if phi.keeps_preactivation else kept
    phi.forward(kept, x)
    assert torch.allclose(x, expected, rtol=1e-10, atol=1e-12)
    above = torch.randn_like(h)
    dx, value = above.clone(), x.clone()
    phi.backward(dx, kept, x)
    assert torch.allclose(dx, above * slope, rtol=1e-9, atol=1e-12)
    # It changes none of its inputs, which probes read afterwards.
    assert torch.equal(x, value)
    assert not phi.keeps_preactivation or torch.equal(kept, h)


@pytest.mark.parametrize("name", REFERENCE)
def test_the_derivative_needs_no_more_than_the_catalogue_says(name: str):
    phi, keeps = activation(name), find_activation(name).keeps_preactivation
    assert phi.keeps_preactivation == keeps
    h = torch.linspace(-3, 3, 50, dtype=torch.float64)
    x, garbage = phi.apply(h), torch.full_like(h, 17.0)
    from_both, from_less = torch.ones_like(h), torch.ones_like(h)
    phi.backward(from_both, h, x)
    phi.backward(from_less, *((h, garbage) if keeps else (garbage, x)))
    assert torch.equal(from_both, from_less)


@pytest.mark.parametrize("name", sorted(set(REFERENCE) - {"gelu", "elu", "tanh"}))
def test_variances_keep_the_mean_square(name: str):
    """s^2 E[phi(z)^2] = 1 for z ~ N(0, 1), by quadrature. (Three values differ in the published code.)"""
    z = np.linspace(-12, 12, 400_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    mean_square = float((activation(name).apply(torch.from_numpy(z)).numpy() ** 2 * density).sum())
    assert find_activation(name).variance * mean_square == pytest.approx(1, abs=1e-4)


def test_published_variances():
    assert [find_activation(name).variance for name in ("relu", "gelu", "elu", "tanh")] == [2, 4, 1, 1]
    # E[max(z, 0)^4] = 3/2, E[max(z, 0)^6] = 15/2.
    assert find_activation("relu^2").variance == pytest.approx(2 / 3)
    assert find_activation("relu^3").variance == pytest.approx(2 / 15)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rellu", "did you mean 'relu'"),
        ("relu^1/2", "at least 1"),
        ("relu^x", "unknown activation"),
        ("relu^", "unknown activation"),
    ],
)
def test_unknown_activations_are_explained(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        activation(name)
