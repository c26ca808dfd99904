"""The log alignment ratio between its limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ipcore.probes.alignment import log_alignment


def alignment(matrix, x) -> float:
    return float(log_alignment(torch.as_tensor(matrix)[None], torch.as_tensor(x)[None]))


def test_a_value_by_hand():
    """V = (3 4; 0 0), x = (1, 2): V x = (11, 0), rms^2 = 121/2; rms^2 of V 25/4, of x 5/2; log to base 2."""
    expected = 0.5 * math.log2((121 / 2) / (25 / 4 * 5 / 2))
    assert alignment([[3.0, 4], [0, 0]], [[1.0, 2]]) == pytest.approx(expected)


@given(st.integers(2, 50), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_a_rank_one_update_is_fully_aligned_with_its_own_direction(n, outputs, seed):
    """V = u v^T and x = v: V x = u |v|^2, so rms(V x) = rms(u) n rms(v)^2 and A = log_n n."""
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal(outputs) + 2, rng.standard_normal(n)
    assert alignment(np.outer(u, v), np.stack([v, -3 * v])) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [64, 400])
def test_independent_entries_have_one_half(n, seed):
    """Given x, the n entries of V x are N(0, |x|^2), so rms(V x)^2 / (n rms(x)^2) is chi^2_n / n.

    Its standard deviation is sqrt(2/n), that of rms(V)^2 sqrt(2)/n; five of them bound the logarithm.
    """
    rng = np.random.default_rng(seed)
    five = 5 * (math.sqrt(2 / n) + math.sqrt(2) / n)
    bound = -0.5 * math.log(1 - min(five, 0.95)) / math.log(n)
    assert alignment(rng.standard_normal((n, n)), rng.standard_normal((1, n))) == pytest.approx(
        0.5, abs=bound
    )


@given(st.integers(0, 2**32 - 1), st.floats(1e-30, 1e15), st.floats(1e-15, 1e15))
def test_scales_do_not_count(seed, a, b):
    rng = np.random.default_rng(seed)
    V, x = rng.standard_normal((4, 6)), rng.standard_normal((3, 6))
    assert alignment(a * V, b * x) == pytest.approx(alignment(V, x), abs=1e-9)


def test_where_it_is_not_defined_it_is_not_finite():
    assert not math.isfinite(alignment(np.zeros((2, 3)), np.ones((1, 3))))
    assert not math.isfinite(alignment(np.ones((2, 3)), np.zeros((1, 3))))
    assert not math.isfinite(alignment(np.ones((2, 1)), np.ones((1, 1))))
