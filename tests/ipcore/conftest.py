"""Small made-up data, so that most tests take milliseconds."""

from __future__ import annotations

import numpy as np
import pytest

from ipcore.data import Dataset, Split, load_dataset


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """40 training and 70 test examples of dimension 5 in 3 classes, named like a known dataset."""
    rng = np.random.default_rng(0)

    def split(n: int) -> Split:
        labels = rng.integers(0, 3, n)
        inputs = rng.standard_normal((n, 5)) + 2 * np.eye(3, 5)[labels]
        return Split(inputs.astype(np.float32), labels.astype(np.int64))

    return Dataset("digits", split(40), split(70), classes=3)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")
