"""The UCI optical digits that scikit-learn carries: 1,797 images of 8x8 pixels with values 0..16.

There is no published split: a fixed shuffle (keyed by the dataset's name) gives 1,437 training and 360 test
images. Inputs are (pixel / 16 - 0.3043) / 0.3754, mean and standard deviation of the training pixels.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.catalogue import DATASETS
from ipcore.data.dataset import Dataset, Split
from ipcore.data.scaling import normalize
from ipcore.errors import DataError
from ipcore.randomness import split_permutation

NORMALIZATION: Final = (0.3043, 0.3754)
_FILE: Final = ("datasets", "data", "digits.csv.gz")
_NO_SKLEARN: Final = (
    "dataset 'digits' is part of scikit-learn, which is not installed; pip install 'iplab[core]'"
)


def check() -> None:
    """Check that scikit-learn is installed, without importing it.

    Raises:
        DataError: It is not.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise DataError(_NO_SKLEARN)


def load() -> Dataset:
    """The digits.

    Raises:
        DataError: scikit-learn is not installed.
    """
    rows = _rows()
    rows = rows[split_permutation("digits", len(rows))]
    inputs = normalize(rows[:, :-1] / 16, NORMALIZATION)
    labels = rows[:, -1].astype(np.int64)
    cut = DATASETS["digits"].train_size
    return Dataset("digits", Split(inputs[:cut], labels[:cut]), Split(inputs[cut:], labels[cut:]), 10)


def _rows() -> npt.NDArray[np.float64]:
    """64 pixels and the label of each image, [1797, 65], in scikit-learn's order.

    Its file is read as it is: importing scikit-learn takes a second, in every worker's process.
    """
    found = importlib.util.find_spec("sklearn")
    if found is None:
        raise DataError(_NO_SKLEARN)
    file = Path(found.origin or "").parent.joinpath(*_FILE)
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    # Another release than those known may keep it elsewhere.
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow

    return np.column_stack(load_digits(return_X_y=True))
