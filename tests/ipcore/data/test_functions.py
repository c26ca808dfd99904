from __future__ import annotations

import numpy as np
import pytest

from ipcore.catalogue.families import FUNCTIONS
from ipcore.data import load_dataset

VALUES = {  # at x = 0.5 and x = -0.25, by hand
    "sine": (0.0, -1.0),
    "step": (1.0, -1.0),
    "abs": (0.5, 0.25),
    "square": (0.25, 0.0625),
    "cubic": (0.125, -0.015625),
    "runge": (1 / 7.25, 1 / 2.5625),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_formulas(name):
    from ipcore.data.functions import FORMULAS

    assert FORMULAS[name](np.array([0.5, -0.25])) == pytest.approx(VALUES[name], abs=1e-12)


def test_inputs_are_uniform_and_targets_belong_to_them():
    data = load_dataset("function:f=abs,n=20000,test=10")
    x = data.train.inputs
    assert x.shape == (20000, 1) and data.train.labels.shape == (20000, 1)
    assert x.dtype == data.train.labels.dtype == np.float32
    assert np.array_equal(data.train.labels, np.abs(x))
    assert -1 <= x.min() < -0.999 and 0.999 < x.max() <= 1
    # Standard deviation of the uniform distribution on [-1, 1]: 1/sqrt(3).
    assert x.std() == pytest.approx(3**-0.5, rel=0.02)
    assert (data.classes, data.target_dim, data.info.input_dim) == (0, 1, 1)


def test_noise_is_added_to_training_targets_alone():
    clean = load_dataset("function:n=20000,test=50")
    noisy = load_dataset("function:n=20000,test=50,noise=0.5")
    assert np.array_equal(clean.train.inputs, noisy.train.inputs)
    assert (noisy.train.labels - clean.train.labels).std() == pytest.approx(0.5, rel=0.02)
    assert np.array_equal(clean.test.labels, noisy.test.labels)


def test_seeds_differ_and_repeat():
    one, again, two = (load_dataset(f"function:n=10,test=10,seed={seed}") for seed in (1, 1, 2))
    assert one.digest == again.digest != two.digest
    assert not np.array_equal(one.train.inputs, one.test.inputs)
