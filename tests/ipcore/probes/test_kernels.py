"""Linear CKA: its value on a small case, and what it does not see."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ipcore.probes.kernels import linear_cka


def cka(x, y) -> float:
    return float(linear_cka(torch.as_tensor(x)[None], torch.as_tensor(y)[None]))


# Fewer and more examples than neurons take different ways.
shapes = st.tuples(st.integers(2, 12), st.integers(1, 12))


@given(shapes, st.integers(0, 2**32 - 1))
def test_equal_features_have_one(shape, seed):
    x = np.random.default_rng(seed).standard_normal(shape)
    assert cka(x, x) == pytest.approx(1)


@given(shapes, st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.integers(-15, 15))
def test_rotation_scale_and_shift_do_not_count(shape, seed, factor, power):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, *shape))
    rotation, _ = np.linalg.qr(rng.standard_normal((shape[1], shape[1])))
    moved = factor * 10.0**power * x @ rotation + 10.0**power * rng.standard_normal(shape[1])
    assert cka(moved, y) == pytest.approx(cka(x, y), rel=1e-6, abs=1e-9)
    assert 0 <= cka(x, y) <= 1 + 1e-9


def test_a_value_by_hand():
    """Centred, orthogonal columns p = (1, 0, -1), q = (1, -2, 1): |p|^2 = 2, |q|^2 = 6, p.q = 0.

    X = p, Y = q: Y^T X = 0. X = p, Y = (p q): Y^T X = (2, 0), X^T X = 2, Y^T Y = diag(2, 6): 4 / (2 sqrt 40).
    """
    first, second = [1.0, 0, -1], [1.0, -2, 1]
    x, both = np.array([first]).T, np.array([first, second]).T
    assert cka(x, np.array([second]).T) == pytest.approx(0, abs=1e-15)
    assert cka(x, both) == pytest.approx(4 / (2 * 40**0.5))
    # Copies of the neurons change nothing, but are more than examples: computed from kernels, not features.
    assert cka(np.tile(x, 4), np.tile(both, 2)) == pytest.approx(4 / (2 * 40**0.5))


def test_a_dead_layer_has_none():
    assert np.isnan(cka(np.zeros((4, 3)), np.eye(4, 3)))
    assert np.isnan(cka(np.ones((4, 3)), np.eye(4, 3)))


@pytest.mark.parametrize("size", [1.0, 1e-20])
def test_rounding_is_no_kernel(size):
    """Examples in different rows of a matmul round differently; that is nothing they differ in."""
    saturated, y = torch.full((4, 3), size), torch.eye(4, 3)
    saturated[1, 2] = torch.nextafter(saturated[1, 2], torch.tensor(1e30))
    assert np.isnan(cka(saturated, y)) and np.isnan(cka(y, saturated))
    saturated[1, 2] = size * (1 + 1e-4)
    assert 0 < cka(saturated, y) <= 1
