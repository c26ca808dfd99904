from __future__ import annotations

import subprocess
import sys

import numpy as np

from ipcore.catalogue import DATASETS
from ipcore.data import digits as module


def test_digits_are_as_the_catalogue_says(digits):
    info = DATASETS["digits"]
    assert digits.train.inputs.shape == (info.train_size, info.input_dim)
    assert digits.test.inputs.shape == (info.test_size, info.input_dim)
    assert digits.classes == info.classes
    assert digits.train.inputs.dtype == np.float32
    assert abs(digits.train.inputs.mean()) < 1e-3
    assert abs(digits.train.inputs.std() - 1) < 1e-3


def test_digits_split_is_disjoint_and_complete(digits):
    rows = np.concatenate([digits.train.inputs, digits.test.inputs])
    from sklearn.datasets import load_digits

    pixels = load_digits().data
    assert sorted(map(tuple, np.rint((rows * 0.3754 + 0.3043) * 16))) == sorted(map(tuple, pixels))


def test_the_numbers_never_change(digits):
    """The split and the normalization never change, so that experiments of different years are comparable."""
    assert digits.digest == "f4a3e93c07ddbe3a9f21caa19ad93179c9b4987f8cbd6a7733b239d33525b415"


def test_scikit_learn_is_not_loaded_but_where_its_file_lies_elsewhere(digits, monkeypatch):
    program = (
        "import sys; from ipcore.data import load_dataset\n"
        "load_dataset('digits'); print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"

    monkeypatch.setattr(module, "_FILE", ("elsewhere",))
    assert module.load().digest == digits.digest
