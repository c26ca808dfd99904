"""The three ranks on matrices whose singular values are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ipcore.probes.ranks import ranks

NAMES = ("squared_trace_rank", "stable_rank", "threshold_rank")


def of(matrix: torch.Tensor) -> list[float]:
    found = ranks(matrix[None])
    assert tuple(found) == NAMES
    return [float(found[name]) for name in NAMES]


def with_singular_values(values: list[float], rows: int, columns: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.standard_normal((rows, len(values))))
    right, _ = np.linalg.qr(rng.standard_normal((columns, len(values))))
    return torch.from_numpy(left * values @ right.T)


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (5, 5)])
def test_rank_one_has_rank_one_by_every_estimate(shape):
    matrix = torch.outer(torch.arange(1.0, shape[0] + 1), torch.linspace(-2, 3, shape[1]))
    assert of(matrix) == pytest.approx([1, 1, 1])


def test_the_identity_has_full_rank_by_every_estimate():
    assert of(torch.eye(7)) == pytest.approx([7, 7, 7])


def test_known_singular_values():
    """s^2 = 4, 1, 1/100, 1/1000: sum 5.011, sum of squares 17.000101; only the last is below 4e-3."""
    matrix = with_singular_values([2, 1, 0.1, 1000**-0.5], rows=6, columns=9, seed=0)
    assert of(matrix) == pytest.approx([5.011**2 / 17.000101, 5.011 / 4, 3])


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
    st.integers(-18, 18),
)
def test_bounds_and_scale(values, seed, power):
    """1 <= stable <= squared trace <= number of singular values, whatever the scale of the matrix."""
    matrix = with_singular_values(values, rows=6, columns=5, seed=seed)
    squared_trace, stable, threshold = of(matrix)
    assert 1 - 1e-9 <= stable <= squared_trace * (1 + 1e-9) <= len(values) * (1 + 2e-9)
    assert 1 <= threshold <= len(values)
    assert of(matrix * 10.0**power)[:2] == pytest.approx([squared_trace, stable])


def test_zero_and_infinite_matrices_have_none_and_leave_the_others_alone():
    matrices = torch.stack([torch.eye(3), torch.zeros(3, 3), torch.full((3, 3), torch.inf), torch.eye(3)])
    matrices[2, 0, 0] = torch.nan
    for values in ranks(matrices).values():
        assert values[[0, 3]].tolist() == [3, 3]
        assert values[[1, 2]].isnan().all()


def test_matrices_of_tiny_numbers_in_single_precision():
    """Their squares would be 0 in single precision."""
    assert of(torch.eye(4) * 1e-30) == pytest.approx([4, 4, 4])
