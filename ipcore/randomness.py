"""Randomness keyed by meaning: the purpose of a number alone determines it.

Every stream is a Philox counter generator whose 128-bit key is a SHA-256 digest of a tuple such as
``(seed, "weights", layer, shape)``. Parameterization, run, pack, device and dtype never enter a key, so the
same seed gives the same normals and the same batches everywhere and comparisons between parameterizations
are paired. All draws are made on the CPU, in double precision, and rounded by their user.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

Key = str | int | tuple[int, ...]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def generator(*key: Key) -> np.random.Generator:
    """The generator of a purpose.

    Args:
        key: Words, integers and tuples of integers. Equal keys give equal streams; different ones,
            independent streams.

    >>> a, b = generator(1, "data", 0), generator(1, "data", 0)
    >>> bool(a.integers(1000) == b.integers(1000))
    True
    """
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def weight_normals(seed: int, layer: int, shape: tuple[int, int]) -> Floats:
    """Standard normals z of a weight matrix.

    Args:
        seed: Seed of the run.
        layer: l = 1..L+1.
        shape: (outputs, inputs).

    Returns:
        Array of this shape.
    """
    return generator(seed, "weights", layer, shape).standard_normal(shape)


def bias_normals(seed: int, layer: int, size: int) -> Floats:
    """Standard normals of a bias, of shape (size,); layer l = 1..L+1."""
    return generator(seed, "bias", layer, (size,)).standard_normal(size)


def epoch_batches(seed: int, epoch: int, examples: int, batch_size: int) -> Indices:
    """Batches of one epoch: a permutation of the training set, its remainder dropped.

    Args:
        seed: Seed of the run.
        epoch: 0, 1, ...
        examples: Size n of the training set.
        batch_size: B, 1 <= B <= n.

    Returns:
        Indices of shape (floor(n/B), B).

    >>> epoch_batches(seed=0, epoch=0, examples=10, batch_size=4).shape
    (2, 4)
    """
    batches = examples // batch_size
    permutation = generator(seed, "data", epoch).permutation(examples)
    return permutation[: batches * batch_size].reshape(batches, batch_size)


def calibration_batches(examples: int, batch_size: int) -> tuple[Indices, Indices]:
    """The two batches of `ipcore.training.calibration`, the same for all seeds.

    They are the first and the last B entries of one permutation: disjoint if 2B <= n.

    Returns:
        Two index arrays of shape (B,).
    """
    permutation = generator("calibration", examples).permutation(examples)
    return permutation[:batch_size], permutation[examples - batch_size :]


def probe_examples(examples: int, size: int) -> Indices:
    """The training inputs on which probes measure, the same for all seeds.

    Args:
        examples: Number n of examples that are trained on.
        size: How many are wanted, 1 <= size <= n.

    Returns:
        Indices of shape (size,), the first of one permutation: a smaller set is part of a larger one.
    """
    return generator("probe", examples).permutation(examples)[:size]


def output_signs(outputs: int, sums: int) -> tuple[Indices, Floats]:
    """Assignment of outputs to the sums of the sketch (`ipcore.probes.sketch`), the same for all runs.

    Args:
        outputs: n, numbers of all outputs of the test set.
        sums: How many sums there are.

    Returns:
        The sum that each number enters, 0 .. sums - 1 in shares that differ by at most one number, and its
        sign, -1 or 1; (n,) each.
    """
    numbers = generator("outputs", outputs, sums)
    dealt = numbers.permutation(outputs) % sums
    return dealt, np.asarray(2 * numbers.integers(0, 2, outputs) - 1, np.float64)


def split_permutation(dataset: str, examples: int) -> Indices:
    """The shuffle that divides a dataset without a published split into training and test set."""
    return generator(dataset, "split").permutation(examples)


def validation_permutation(dataset: str, examples: int) -> Indices:
    """The order of training examples whose first ones are held out (`ipcore.training.holdout`)."""
    return generator("validation", dataset, examples).permutation(examples)
