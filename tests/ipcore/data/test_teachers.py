from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.data import load_dataset
from ipcore.data.teachers import FORMULAS, coordinates, directions


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.integers(1, 30), st.data())
def test_directions_are_orthonormal(seed, d, data):
    k = data.draw(st.integers(1, d))
    units = directions(seed, d, k)
    assert units.shape == (d, k)
    assert units.T @ units == pytest.approx(np.eye(k), abs=1e-12)
    assert np.array_equal(directions(seed, d, 1)[:, 0], units[:, 0])  # more directions keep the first


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_hermite_links_are_orthonormal_under_a_normal_input(degree):
    # Gauss-Hermite quadrature is exact for these polynomials.
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    values = FORMULAS[f"hermite-{degree}"](nodes)
    assert weights @ values**2 == pytest.approx(1)
    for lower in range(degree):
        assert weights @ (values * nodes**lower) == pytest.approx(0, abs=1e-12)


def test_single_index_targets_are_the_link_of_one_projection():
    data = load_dataset("single-index:d=8,n=500,test=100,link=tanh,seed=3")
    unit = directions(3, 8, 1)[:, 0]
    expected = np.tanh(data.train.inputs.astype(float) @ unit)
    assert data.train.labels[:, 0] == pytest.approx(expected, abs=1e-6)
    assert abs(data.train.inputs.mean()) < 0.1
    assert data.train.inputs.std() == pytest.approx(1, rel=0.05)


def test_multi_index_targets_are_the_scaled_sum():
    data = load_dataset("multi-index:d=8,k=3,n=500,test=100,link=hermite-2")
    z = data.test.inputs.astype(float) @ directions(0, 8, 3)
    assert data.test.labels[:, 0] == pytest.approx(((z**2 - 1) / 2**0.5).sum(axis=1) / 3**0.5, abs=1e-5)


def test_signs_are_two_classes():
    real = load_dataset("single-index:d=8,n=500,test=100,link=hermite-3")
    sign = load_dataset("single-index:d=8,n=500,test=100,link=hermite-3,labels=sign")
    assert np.array_equal(sign.train.labels, real.train.labels[:, 0] > 0)
    assert sign.train.labels.dtype == np.int64
    assert (sign.classes, sign.target_dim) == (2, 0)
    assert np.array_equal(sign.train.inputs, real.train.inputs)


def test_parity_is_the_sign_of_a_product():
    data = load_dataset("parity:d=10,k=3,n=2000,test=100")
    chosen = coordinates(0, 10, 3)
    assert len(set(chosen.tolist())) == 3
    assert np.array_equal(data.train.labels, data.train.inputs[:, chosen].prod(axis=1) > 0)
    # Balanced: 2000 fair coins, 5 standard deviations.
    assert abs(data.train.labels.sum() - 1000) < 5 * 500**0.5


def test_flips_are_as_frequent_as_said_and_in_the_training_set_alone():
    clean = load_dataset("parity:d=4,n=20000,test=100")
    noisy = load_dataset("parity:d=4,n=20000,test=100,flip=0.2")
    assert (clean.train.labels != noisy.train.labels).mean() == pytest.approx(
        0.2, abs=5 * (0.16 / 20000) ** 0.5
    )
    assert np.array_equal(clean.test.labels, noisy.test.labels)


def test_a_larger_training_set_begins_with_the_smaller_one():
    small = load_dataset("multi-index:d=5,k=2,n=100,test=10,noise=0.1")
    large = load_dataset("multi-index:d=5,k=2,n=300,test=10,noise=0.1")
    assert np.array_equal(small.train.inputs, large.train.inputs[:100])
    assert np.array_equal(small.train.labels, large.train.labels[:100])
    assert np.array_equal(small.test.inputs, large.test.inputs)


def test_drawing_in_parts_changes_nothing(monkeypatch):
    from ipcore.data import teachers

    whole = load_dataset("multi-index:d=5,k=2,n=100,test=10")
    monkeypatch.setattr(teachers, "_CHUNK", 35)
    assert load_dataset("multi-index:d=5,k=2,n=100,test=10").digest == whole.digest


def test_all_families_share_inputs_of_equal_seed_and_dimension():
    names = ("single-index:d=6,n=20,test=5", "multi-index:d=6,n=20,test=5", "parity:d=6,n=20,test=5")
    inputs = [load_dataset(name).train.inputs for name in names]
    assert all(np.array_equal(inputs[0], other) for other in inputs[1:])
    assert not np.array_equal(inputs[0], load_dataset("parity:d=6,n=20,test=5,seed=1").train.inputs)
