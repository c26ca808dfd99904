"""MNIST and Fashion-MNIST: four IDX files each, plain or gzipped, in ``<data_root>/<name>``.

* ``mnist``: inputs are (pixel / 255 - 0.1307) / 0.3081, the usual constants (also in the code of
  arXiv:2110.15596). The SHA-256 of the *unpacked* bytes is verified, so a file that was packed again is still
  recognized.
* ``fashion-mnist`` (Xiao, Rasul & Vollgraf, arXiv:1708.07747): inputs are (pixel / 255 - 0.2860) / 0.3530,
  mean and standard deviation of the training pixels as usually given. Published are the MD5 of the four .gz
  files. Files that were unpacked or packed again cannot be compared with those; they are accepted if they
  have the published sizes and 6,000 and 1,000 images of each class, with a note that they are not verified.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.data.dataset import Dataset, Split
from ipcore.data.published import (
    Content,
    PublishedFile,
    check_labels,
    data_folder,
    md5,
    not_verified,
    read,
    read_path,
    require,
)
from ipcore.data.scaling import as_pixels, scale_pixels
from ipcore.errors import DataError

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class IdxSource:
    """A dataset of IDX files of unsigned bytes.

    Attributes:
        name: Name of the dataset and its folder.
        train_inputs: Images (n, rows, columns).
        train_labels: Classes (n,).
        test_inputs: Images of the test set.
        test_labels: Classes of the test set.
        normalization: Mean and standard deviation of pixels scaled to 0..1.
        url: Where the .gz files are published.
        per_class: Training and test images of each class, required of files that cannot be verified.
        classes: Number of classes.
    """

    name: str
    train_inputs: PublishedFile
    train_labels: PublishedFile
    test_inputs: PublishedFile
    test_labels: PublishedFile
    normalization: tuple[float, float]
    url: str
    per_class: tuple[int, int] | None = None
    classes: int = 10

    @property
    def folder(self) -> str:
        """Below the data folder."""
        return self.name

    @property
    def files(self) -> tuple[PublishedFile, ...]:
        """All files."""
        return (self.train_inputs, self.train_labels, self.test_inputs, self.test_labels)

    @property
    def downloads(self) -> tuple[str, ...]:
        """File names as published, below `url`."""
        return tuple(f"{file.name}.gz" for file in self.files)

    def verify_download(self, path: Path) -> None:
        """Check one of `downloads`, wherever it lies.

        Raises:
            DataError: It is not the published file.
        """
        file = next(file for file in self.files if f"{file.name}.gz" == path.name)
        if not read_path(path, file).verified:
            raise DataError(
                f"{path} is not the published file: its MD5 is {md5(path)}, not {file.packed_md5}; "
                "fetch it again"
            )

    def check(self, data_root: str | Path | None) -> str:
        """Read and check everything; keep nothing.

        Returns:
            What could not be verified, or "".

        Raises:
            DataError: Files that are missing, damaged, or not the published ones.
        """
        return self._read(data_root)[1]

    def load(self, data_root: str | Path | None) -> Dataset:
        """Read, check and normalize.

        Raises:
            DataError: As `check`.
        """
        parts, _ = self._read(data_root)
        train, test = (self._split(pixels.reshape(len(pixels), -1), labels) for pixels, labels in parts)
        if train.inputs.shape[1] != test.inputs.shape[1]:
            raise DataError(f"{self.name}: training and test images have different sizes")
        return Dataset(self.name, train, test, self.classes)

    def _split(self, pixels: Bytes, labels: Bytes) -> Split:
        inputs = scale_pixels(pixels, self.normalization)
        return Split(inputs, labels.astype(np.int64), as_pixels(pixels, [self.normalization]))

    def _read(self, data_root: str | Path | None) -> tuple[list[tuple[Bytes, Bytes]], str]:
        folder = data_folder(self.name, self.folder, data_root)
        require(self.name, folder, self.files)
        parts, unverified = [], []
        pairs = ((self.train_inputs, self.train_labels), (self.test_inputs, self.test_labels))
        for part, (inputs_file, labels_file) in enumerate(pairs):
            inputs, labels = read(folder, inputs_file), read(folder, labels_file)
            pixels, classes = parse_idx(inputs, 3), parse_idx(labels, 1)
            if len(pixels) != len(classes):
                raise DataError(
                    f"{folder}: {len(pixels)} images in {inputs_file.name}, {len(classes)} labels"
                )
            known = inputs.verified and labels.verified
            exact = self.per_class[part] if self.per_class and not known else None
            check_labels(labels.path, classes, self.classes, exact)
            unverified += [content.path.name for content in (inputs, labels) if not content.verified]
            parts.append((pixels, classes))
        return parts, not_verified(unverified, "the published checksums are of the .gz files as downloaded")


def parse_idx(content: Content, dimensions: int) -> Bytes:
    """An IDX file of unsigned bytes: magic 0, 0, 8, number of dimensions; sizes, big endian; the bytes.

    Raises:
        DataError: It has another form, or not as many bytes as its header says.
    """
    data, header = content.data, 4 * (1 + dimensions)
    if len(data) < header or data[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{content.path} is not an IDX file of unsigned bytes in {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    values = np.frombuffer(data, dtype=np.uint8, offset=header)
    # Plain integers: a product of three announced sizes may not fit 64 bits.
    announced = 1
    for size in shape:
        announced *= size
    if values.size != announced:
        raise DataError(f"{content.path} is cut off: {values.size} values, its header announces {shape}")
    return values.reshape(shape)


MNIST: Final = IdxSource(
    "mnist",
    PublishedFile(
        "train-images-idx3-ubyte",
        47_040_016,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    PublishedFile(
        "train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    PublishedFile(
        "t10k-images-idx3-ubyte",
        7_840_016,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    PublishedFile(
        "t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
    normalization=(0.1307, 0.3081),
    # The mirror that torchvision uses; the publisher's own page sometimes asks for a password.
    url="https://ossci-datasets.s3.amazonaws.com/mnist",
)
# MD5 as in the table of the authors' repository, github.com/zalandoresearch/fashion-mnist.
FASHION_MNIST: Final = IdxSource(
    "fashion-mnist",
    PublishedFile("train-images-idx3-ubyte", 47_040_016, packed_md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    PublishedFile("train-labels-idx1-ubyte", 60_008, packed_md5="25c81989df183df01b3e8a0aad5dffbe"),
    PublishedFile("t10k-images-idx3-ubyte", 7_840_016, packed_md5="bef4ecab320f06d8554ea6380940ec79"),
    PublishedFile("t10k-labels-idx1-ubyte", 10_008, packed_md5="bb300cfdad3c16e7a12a480ee83cd310"),
    normalization=(0.2860, 0.3530),
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    per_class=(6000, 1000),
)
