"""Inputs with labels or targets, in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ipcore.catalogue import DatasetInfo
from ipcore.catalogue.formats import SINGLE

# Number of columns that a message names.
_NAMED: Final = 10


@dataclass(frozen=True, eq=False, slots=True)
class Pixels:
    """Inputs as bytes: scale * value + shift are the normalized ones, to about one unit in the last place.

    Attributes:
        values: Shape (n, d), uint8.
        scale: Shape (d,), float32.
        shift: Shape (d,), float32.
    """

    values: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float32]
    shift: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """Inputs with their labels.

    Other number types, byte orders and memory layouts are converted to those that torch can read.

    Attributes:
        inputs: Normalized, shape (n, d), float32; float64 is kept.
        labels: Classes, shape (n,), int64; or real-valued targets, shape (n, k), float32; float64 is kept.
        pixels: The same inputs as bytes, if they are images.
    """

    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    pixels: Pixels | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "labels"):
            object.__setattr__(self, name, _readable(getattr(self, name), classes=name == "labels"))

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, indices: npt.NDArray[np.integer]) -> Split:
        """Some of the examples, copied."""
        pixels = self.pixels
        if pixels is not None:
            pixels = Pixels(pixels.values[indices], pixels.scale, pixels.shift)
        return Split(self.inputs[indices], self.labels[indices], pixels)


def _readable(array: npt.NDArray[Any], *, classes: bool) -> npt.NDArray[Any]:
    """The array itself, or a copy that torch can read, with integers as int64 if they may be classes."""
    kind, dtype = array.dtype.kind, array.dtype.newbyteorder("=")
    if classes and kind in "iu":
        dtype = np.dtype(np.int64)
    elif kind == "f" and dtype.itemsize > 8:
        dtype = np.dtype(np.float64)
    if dtype == array.dtype and all(stride >= 0 for stride in array.strides):
        return array
    return array.astype(dtype, order="C")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset in memory.

    Attributes:
        name: Canonical name, as in specs.
        train: Training examples.
        test: Test examples.
        classes: Number of classes C; 0 for real-valued targets.
    """

    name: str
    train: Split
    test: Split
    classes: int

    @property
    def input_dim(self) -> int:
        """Numbers per input, d."""
        return int(self.train.inputs.shape[1])

    @property
    def target_dim(self) -> int:
        """Numbers per target, k; 0 for classes."""
        return int(self.train.labels.shape[1]) if self.train.labels.ndim == 2 else 0

    @property
    def info(self) -> DatasetInfo:
        """Its sizes, as the functions of `ipcore.catalogue` take them."""
        sizes = len(self.train), len(self.test)
        return DatasetInfo(self.name, "", self.input_dim, self.classes, *sizes, self.target_dim)

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all inputs and labels: the identity of the numbers, whatever the name.

        Computed once, when it is first asked for (MNIST: a fifth of a second).
        """
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for array in (split.inputs, split.labels):
                digest.update(f"{array.dtype} {array.shape};".encode())
                digest.update(np.ascontiguousarray(array).data.cast("B"))
        return digest.hexdigest()

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """Columns that single precision cannot represent, array by array (`size_problems`); computed once."""
        found = []
        for part, split in (("train", self.train), ("test", self.test)):
            arrays = {"inputs": split.inputs} | ({"targets": split.labels} if self.target_dim else {})
            for name, array in arrays.items():
                found += [f"{part} {name}: {text}" for text in size_problems(array, whole=part == "train")]
        return tuple(found)


def size_problems(values: npt.NDArray[np.generic], *, whole: bool) -> list[str]:
    """Columns of an array that single precision cannot hold.

    These are columns with numbers that are too large, and columns whose numbers are all too small. A small
    number beside larger ones of its column may underflow without harm. NaN and infinity are not reported: a
    run on them diverges visibly.

    Args:
        values: (n, columns), real numbers.
        whole: Whether to look for columns that are too small.

    Returns:
        At most one sentence, on all wrong columns.
    """
    if values.ndim != 2 or not values.size:
        return []
    largest = np.maximum(values.max(axis=0), -values.min(axis=0).astype(np.float64))
    for column in np.flatnonzero(~np.isfinite(largest)):
        numbers = values[:, column]
        largest[column] = np.abs(numbers[np.isfinite(numbers)]).max(initial=0)
    problems = []
    for wrong, size, mend in (
        (largest > SINGLE.largest, f"are above {SINGLE.largest:g}", "smaller"),
        ((largest > 0) & (largest < SINGLE.least) & whole, f"are all below {SINGLE.least:g}", "larger"),
    ):
        columns = np.flatnonzero(wrong)
        if len(columns):
            shown = ", ".join(map(str, columns[:_NAMED])) + (", ..." if len(columns) > _NAMED else "")
            problems.append(
                f"numbers of column {shown} {size} (up to {largest[columns[0]]:g}), which training in single "
                f"precision cannot hold; give them in {mend} numbers, as (value - mean) / standard deviation"
            )
    return problems
