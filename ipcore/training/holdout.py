"""The validation split: training examples held out, the same ones for all seeds, runs and packs."""

from __future__ import annotations

import numpy as np

from ipcore.data import Dataset, Split
from ipcore.randomness import validation_permutation


def split_training(dataset: Dataset, validation_size: int) -> tuple[Split, Split | None]:
    """The part of a training set that batches are drawn from, and the part held out.

    Use it to evaluate a network that was trained with `PackConfig.validation_size` on the held-out examples.

    Args:
        dataset: Any.
        validation_size: Examples held out, 0 .. training examples - 1; 0: none.

    Returns:
        Training part, in its old order, and validation part; None with size 0.
    """
    if validation_size == 0:
        return dataset.train, None
    order = validation_permutation(dataset.name, len(dataset.train))
    held, rest = order[:validation_size], np.sort(order[validation_size:])
    return dataset.train.part(rest), dataset.train.part(held)
