"""Datasets as numpy arrays: the embedded digits and the published MNIST files. No torch.

* ``digits``: scikit-learn's copy of the UCI optical digits, 1,797 images of 8x8 pixels with values 0..16.
  There is no published split: a fixed shuffle (keyed by the dataset's name) gives 1,437 training and 360
  test images. Inputs are (pixel / 16 - 0.3043) / 0.3754, mean and standard deviation of the training pixels.
* ``mnist``: the four published IDX files in ``<data_root>/mnist``, each plain or gzipped. Inputs are
  (pixel / 255 - 0.1307) / 0.3081, the usual constants (also in the code of arXiv:2110.15596). The SHA-256 of
  the *unpacked* bytes is verified, so a file that was packed again is still recognized.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.catalogue import DATASETS
from ipcore.errors import DataError, unknown
from ipcore.randomness import split_permutation


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """Inputs with their labels.

    Attributes:
        inputs: Normalized, shape (n, d), float32.
        labels: Classes, shape (n,), int64.
    """

    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False, slots=True)
class Dataset:
    """A dataset in memory.

    Attributes:
        name: As in specs.
        train: What is trained on.
        test: What is never trained on.
        classes: Number of classes C.
    """

    name: str
    train: Split
    test: Split
    classes: int

    @property
    def input_dim(self) -> int:
        """Numbers per input, d."""
        return int(self.train.inputs.shape[1])


@dataclass(frozen=True, slots=True)
class IdxFile:
    """A published IDX file.

    Attributes:
        name: File name without ".gz".
        sha256: Of the unpacked bytes, in hexadecimal.
    """

    name: str
    sha256: str


MNIST_FILES: Final[dict[str, IdxFile]] = {
    "train_inputs": IdxFile(
        "train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train_labels": IdxFile(
        "train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "test_inputs": IdxFile(
        "t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "test_labels": IdxFile(
        "t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
DIGITS_NORMALIZATION: Final = (0.3043, 0.3754)
MNIST_NORMALIZATION: Final = (0.1307, 0.3081)


def load_dataset(name: str, data_root: str | Path | None = None) -> Dataset:
    """Read, verify and normalize a dataset.

    Args:
        name: A key of `ipcore.catalogue.DATASETS`.
        data_root: Folder that holds ``mnist/``; not needed for ``digits``.

    Raises:
        DataError: Unknown name, or files that are missing, damaged or not the published ones.

    >>> digits = load_dataset("digits")
    >>> digits.train.inputs.shape, len(digits.test), digits.classes
    ((1437, 64), 360, 10)
    """
    if name == "digits":
        return _load_digits()
    if name == "mnist":
        return _load_mnist(_folder(name, data_root), MNIST_FILES)
    raise DataError(unknown("dataset", name, DATASETS))


def check_dataset(name: str, data_root: str | Path | None = None) -> None:
    """Check that a dataset can be loaded, with its checksums, without keeping it.

    Imports neither torch nor scikit-learn.

    Raises:
        DataError: As `load_dataset`; says what is wrong, where it was looked for, and what to do.
    """
    if name == "digits":
        if importlib.util.find_spec("sklearn") is None:
            raise DataError(_NO_SKLEARN)
    elif name == "mnist":
        folder = _folder(name, data_root)
        _require(name, folder, MNIST_FILES)
        for file in MNIST_FILES.values():
            _read_verified(folder, file)
    else:
        raise DataError(unknown("dataset", name, DATASETS))


_NO_SKLEARN: Final = (
    "dataset 'digits' is part of scikit-learn, which is not installed; pip install 'iplab[core]'"
)


def _load_digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - slow, and not needed for other datasets
    except ImportError:
        raise DataError(_NO_SKLEARN) from None
    pixels, labels = load_digits(return_X_y=True)
    order = split_permutation("digits", len(labels))
    inputs = _normalize(pixels[order] / 16, DIGITS_NORMALIZATION)
    labels = labels[order].astype(np.int64)
    cut = DATASETS["digits"].train_size
    return Dataset("digits", Split(inputs[:cut], labels[:cut]), Split(inputs[cut:], labels[cut:]), 10)


def _load_mnist(folder: Path, files: dict[str, IdxFile]) -> Dataset:
    _require("mnist", folder, files)
    splits: list[Split] = []
    for part in ("train", "test"):
        inputs, labels = files[f"{part}_inputs"], files[f"{part}_labels"]
        pixels = _parse_idx(_read_verified(folder, inputs), 3, folder / inputs.name)
        classes = _parse_idx(_read_verified(folder, labels), 1, folder / labels.name)
        if len(pixels) != len(classes):
            raise DataError(f"{folder}: {len(pixels)} images in {inputs.name}, {len(classes)} labels")
        # A look-up per pixel value: the same numbers as the formula, without a large double array.
        table = _normalize(np.arange(256) / 255, MNIST_NORMALIZATION)
        splits.append(Split(table[pixels.reshape(len(pixels), -1)], classes.astype(np.int64)))
    train, test = splits
    return Dataset("mnist", train, test, DATASETS["mnist"].classes)


def _normalize(values: npt.NDArray[np.floating], constants: tuple[float, float]) -> npt.NDArray[np.float32]:
    mean, std = constants
    return ((values - mean) / std).astype(np.float32)


def _folder(name: str, data_root: str | Path | None) -> Path:
    if data_root is None:
        raise DataError(
            f"dataset {name!r} needs a data folder and none was given; name the folder that holds {name}/ "
            "(data_root in Python, the environment variable IPLAB_DATA for the service)"
        )
    return Path(data_root) / name


def _require(name: str, folder: Path, files: dict[str, IdxFile]) -> None:
    missing = [file.name for file in files.values() if _find(folder, file) is None]
    if missing:
        state = "" if folder.is_dir() else " (no such folder)"
        raise DataError(
            f"dataset {name!r} lacks {', '.join(missing)} (plain or .gz) in {folder.absolute()}{state}; "
            "put the published IDX files there, or name another data folder"
        )


def _find(folder: Path, file: IdxFile) -> Path | None:
    candidates = (folder / file.name, folder / f"{file.name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _read_verified(folder: Path, file: IdxFile) -> bytes:
    path = _find(folder, file)
    if path is None:
        raise DataError(f"{folder / file.name} has vanished; put the published file there")
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch the published file again") from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataError(
            f"{path} is not the published file: its unpacked content has SHA-256 {found}, not {file.sha256}; "
            "fetch the published file again"
        )
    return content


def _parse_idx(content: bytes, dimensions: int, path: Path) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes: magic 0, 0, 8, number of dimensions; sizes, big endian; the bytes."""
    header = 4 * (1 + dimensions)
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{path} is not an IDX file of unsigned bytes in {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    values = np.frombuffer(content, dtype=np.uint8, offset=header)
    if values.size != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path} is cut off: {values.size} values, its header announces {shape}")
    return values.reshape(shape)
