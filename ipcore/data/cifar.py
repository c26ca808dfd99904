"""CIFAR-10 from its published binary version, in colour and in grey, in ``<data_root>/cifar10``.

The folder holds ``cifar-10-binary.tar.gz`` as published (its MD5 is verified; members are read in memory,
nothing is unpacked to disk), or the unpacked ``cifar-10-batches-bin/*.bin``. Of the unpacked files no
checksums are published: they are accepted if they have the published size and 5,000 and 1,000 images of each
class, with a note that they are not verified. The Python version, which is pickled, is never read.

A record is one byte of label and 3,072 of pixels: 1,024 red, 1,024 green, 1,024 blue, row by row
(www.cs.toronto.edu/~kriz/cifar.html).

* ``cifar10``: inputs keep that order, d = 3,072; per channel (pixel / 255 - mean) / std with the usual means
  0.4914, 0.4822, 0.4465 and standard deviations 0.2470, 0.2435, 0.2616 of all training pixels.
* ``cifar10-grey``: luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded to a byte in 16-bit fixed point
  as Pillow's mode "L" does, d = 1,024; then (luma / 255 - 0.4809) / 0.2392, the constants of the code of
  arXiv:2110.15596.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.data.dataset import Dataset, Split
from ipcore.data.published import check_labels, data_folder, md5, not_verified
from ipcore.data.scaling import as_pixels, scale_pixels
from ipcore.errors import DataError

ARCHIVE: Final = "cifar-10-binary.tar.gz"
FOLDER: Final = "cifar-10-batches-bin"
TRAIN_FILES: Final = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES: Final = ("test_batch.bin",)
COLOUR_NORMALIZATION: Final = ((0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616))
GREY_NORMALIZATION: Final = (0.4809, 0.2392)
# 0.299, 0.587, 0.114 times 2^16, rounded so that they add up to 2^16.
LUMA: Final = (19595, 38470, 7471)
_PIXELS = 1024
_RECORD = 1 + 3 * _PIXELS
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CifarSource:
    """CIFAR-10 in one of two forms.

    Attributes:
        name: Name of the dataset.
        grey: Luma instead of three channels.
        records: Images in each file.
        archive_md5: MD5 of the published archive.
        classes: Number of classes.
        url: Where the archive is published.
        folder: Below the data folder.
    """

    name: str
    grey: bool
    records: int = 10_000
    archive_md5: str = "c32a1d4ab5d03f1284b67883e8d87530"
    classes: int = 10
    url: str = "https://www.cs.toronto.edu/~kriz"
    folder: str = field(default="cifar10", init=False)

    @property
    def downloads(self) -> tuple[str, ...]:
        """File names as published, below `url`."""
        return (ARCHIVE,)

    def check(self, data_root: str | Path | None) -> str:
        """Check the archive's checksum or, without an archive, sizes and labels of all files.

        Returns:
            What could not be verified, or "".

        Raises:
            DataError: Files that are missing, damaged, or not the published ones.
        """
        folder = data_folder(self.name, self.folder, data_root)
        if (folder / ARCHIVE).is_file():
            self.verify_download(folder / ARCHIVE)
            return ""
        self._records(folder)
        return not_verified([f"{FOLDER}/*.bin"], f"the published checksum is of {ARCHIVE}")

    def load(self, data_root: str | Path | None) -> Dataset:
        """Read, check and normalize.

        Raises:
            DataError: As `check`.
        """
        train, test = self._records(data_folder(self.name, self.folder, data_root))
        return Dataset(self.name, self._split(train), self._split(test), self.classes)

    def _records(self, folder: Path) -> tuple[Bytes, Bytes]:
        """Training and test records, each of shape (n, 3073)."""
        archive = folder / ARCHIVE
        if archive.is_file():
            self.verify_download(archive)
            parts = _members(archive, self.records * _RECORD)
        else:
            parts = self._unpacked(folder)
        records = {
            name: np.frombuffer(data, dtype=np.uint8).reshape(-1, _RECORD) for name, data in parts.items()
        }
        train = np.concatenate([records[name] for name in TRAIN_FILES])
        test = np.concatenate([records[name] for name in TEST_FILES])
        for part, where in ((train, "data_batch_*.bin"), (test, "test_batch.bin")):
            exact = len(part) // self.classes
            check_labels(folder / FOLDER / where, part[:, 0], self.classes, exact)
        return train, test

    def _unpacked(self, folder: Path) -> dict[str, bytes]:
        names = (*TRAIN_FILES, *TEST_FILES)
        missing = [name for name in names if not (folder / FOLDER / name).is_file()]
        if missing:
            state = "" if folder.is_dir() else " (no such folder)"
            raise DataError(
                f"dataset {self.name!r} lacks {ARCHIVE}, or {', '.join(missing)} in {FOLDER}, "
                f"in {folder.absolute()}{state}; put the published binary version there "
                f"(python -m ipcore.data fetch {self.name} --to {folder.parent}), or name another data folder"
            )
        parts = {}
        for name in names:
            path, size = folder / FOLDER / name, self.records * _RECORD
            try:
                with path.open("rb") as file:
                    parts[name] = file.read(size + 1)
            except OSError as error:
                raise DataError(f"{path} cannot be read ({error}); fetch it again") from error
            if len(parts[name]) != size:
                found = path.stat().st_size
                raise DataError(
                    f"{path} is cut off or not the published file: it has {found:,} bytes, not {size:,} "
                    f"({self.records:,} records of {_RECORD:,}); fetch it again"
                )
        return parts

    def verify_download(self, archive: Path) -> None:
        """Check the archive's checksum, wherever it lies.

        Raises:
            DataError: It is not the published archive.
        """
        try:
            found = md5(archive)
        except OSError as error:
            raise DataError(f"{archive} cannot be read ({error}); fetch it again") from error
        if found != self.archive_md5:
            raise DataError(
                f"{archive} is not the published archive: its MD5 is {found}, not {self.archive_md5}; "
                "fetch it again"
            )

    def _split(self, records: Bytes) -> Split:
        channels = records[:, 1:].reshape(len(records), 3, _PIXELS)
        labels = records[:, 0].astype(np.int64)
        if self.grey:
            grey = luma(channels)
            return Split(
                scale_pixels(grey, GREY_NORMALIZATION), labels, as_pixels(grey, [GREY_NORMALIZATION])
            )
        inputs = np.empty(channels.shape, dtype=np.float32)
        for channel, constants in enumerate(COLOUR_NORMALIZATION):
            scale_pixels(channels[:, channel], constants, out=inputs[:, channel])
        pixels = as_pixels(channels.reshape(len(records), -1), COLOUR_NORMALIZATION)
        return Split(inputs.reshape(len(records), -1), labels, pixels)


def luma(channels: Bytes) -> Bytes:
    """Grey values of pixels (n, 3, pixels), red, green, blue; shape (n, pixels).

    >>> luma(np.array([[[255], [0], [0]]], dtype=np.uint8)).item()
    76
    """
    total = np.full((len(channels), channels.shape[2]), 1 << 15, dtype=np.uint32)
    for channel, weight in enumerate(LUMA):
        total += np.uint32(weight) * channels[:, channel]
    return (total >> 16).astype(np.uint8)


def _members(archive: Path, size: int) -> dict[str, bytes]:
    """The six files of the archive, read in memory: exact names, regular files, the published size."""
    wanted = {f"{FOLDER}/{name}": name for name in (*TRAIN_FILES, *TEST_FILES)}
    parts: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as file:
            for member in file:
                if member.name not in wanted:
                    continue
                stream = file.extractfile(member) if member.isreg() and member.size == size else None
                if stream is None:
                    raise DataError(f"{archive}: {member.name} is not a file of {size:,} bytes")
                parts[wanted[member.name]] = stream.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{archive} cannot be read ({error}); fetch it again") from error
    missing = sorted(set(wanted.values()) - set(parts))
    if missing:
        raise DataError(f"{archive} lacks {', '.join(missing)}; fetch it again")
    return parts


COLOUR: Final = CifarSource("cifar10", grey=False)
GREY: Final = CifarSource("cifar10-grey", grey=True)
