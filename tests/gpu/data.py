"""Datasets for the GPU machine, including a CIFAR-10 that is small enough to copy there.

    IPLAB_DATA=<folder that holds cifar10/> python -m tests.gpu.data FILE

writes the 60,000 grey images and labels of `cifar10-grey`, bytes as they are, into FILE, to be called
cifar10-grey.xz (45 MiB; the published files have 184 MB). `load` reads it where IPLAB_DATA holds it; the
numbers are the same to the last bit.
"""

from __future__ import annotations

import lzma
import os
import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.data import Dataset, Split, load_dataset
from ipcore.data.cifar import GREY_NORMALIZATION
from ipcore.data.scaling import as_pixels, scale_pixels
from ipcore.errors import DataError

FILE: Final = "cifar10-grey.xz"
_PIXELS: Final = 1024
_TEST: Final = 10_000
# Neighbouring pixels in a row are similar, so their differences are small numbers.
_FILTERS: Final = [{"id": lzma.FILTER_DELTA, "dist": 1}, {"id": lzma.FILTER_LZMA2, "preset": 6}]
Bytes = npt.NDArray[np.uint8]


def load(name: str) -> Dataset:
    """A dataset from the folder IPLAB_DATA.

    Raises:
        DataError: The dataset is missing.
    """
    root = os.environ.get("IPLAB_DATA")
    if root and name == "cifar10-grey" and (Path(root) / FILE).is_file():
        return unpack((Path(root) / FILE).read_bytes())
    return load_dataset(name, root)


def pack(dataset: Dataset) -> bytes:
    """Training and test examples, packed: for each a byte with the label, and the pixels."""
    parts = []
    for split in (dataset.train, dataset.test):
        if split.pixels is None:
            raise DataError(f"dataset {dataset.name!r} has no bytes")
        parts.append(np.concatenate([split.labels.astype(np.uint8)[:, None], split.pixels.values], axis=1))
    return lzma.compress(np.concatenate(parts).tobytes(), format=lzma.FORMAT_XZ, filters=_FILTERS)


def unpack(data: bytes, test: int = _TEST) -> Dataset:
    """The dataset of `pack`, as `ipcore.data.cifar` reads it from the published files.

    Args:
        data: Result of `pack`.
        test: Number of examples of the test set, which are the last ones.
    """
    records = np.frombuffer(lzma.decompress(data), dtype=np.uint8).reshape(-1, 1 + _PIXELS)
    return Dataset("cifar10-grey", _split(records[:-test]), _split(records[-test:]), classes=10)


def _split(records: Bytes) -> Split:
    grey = np.ascontiguousarray(records[:, 1:])
    inputs = scale_pixels(grey, GREY_NORMALIZATION)
    return Split(inputs, records[:, 0].astype(np.int64), as_pixels(grey, [GREY_NORMALIZATION]))


def main() -> None:
    """Write the file."""
    Path(sys.argv[1]).write_bytes(pack(load_dataset("cifar10-grey", os.environ.get("IPLAB_DATA"))))


if __name__ == "__main__":
    main()
