"""Published files in a data folder: found plain or packed, read, and compared with published checksums.

A publisher's checksum covers one form of a file: packed as it is downloaded, or unpacked. A file in this form
must match. A file in the other form cannot be compared: it is accepted if the checks of its content pass
(sizes, numbers of labels), and a note says that it is not verified.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ipcore.errors import DataError


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A published file.

    Attributes:
        name: File name without ".gz".
        sha256: SHA-256 of the unpacked bytes, in hexadecimal; "": not published.
        packed_md5: MD5 of the bytes of "name.gz" as published; "": not compared.
        size: Unpacked bytes; a longer file is not unpacked in full.
    """

    name: str
    size: int
    sha256: str = ""
    packed_md5: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file.

    Attributes:
        path: Where it was found.
        data: Its unpacked bytes.
        verified: Whether they match a published checksum.
    """

    path: Path
    data: bytes
    verified: bool


def data_folder(name: str, folder: str, data_root: str | Path | None) -> Path:
    """Folder of a dataset's files below the data folder.

    Raises:
        DataError: No data folder was given.
    """
    if data_root is None:
        raise DataError(
            f"dataset {name!r} needs a data folder and none was given; name the folder that holds {folder}/ "
            "(data_root in Python, the environment variable IPLAB_DATA for the service)"
        )
    return Path(data_root) / folder


def require(name: str, folder: Path, files: tuple[PublishedFile, ...]) -> None:
    """Check that all files are there, plain or packed.

    Raises:
        DataError: Names every missing one, the folder, and how to get them.
    """
    missing = [file.name for file in files if _find(folder, file) is None]
    if missing:
        state = "" if folder.is_dir() else " (no such folder)"
        raise DataError(
            f"dataset {name!r} lacks {', '.join(missing)} (plain or .gz) in {folder.absolute()}{state}; "
            f"put the published files there (python -m ipcore.data fetch {name} --to {folder.parent}), "
            "or name another data folder"
        )


def read(folder: Path, file: PublishedFile) -> Content:
    """Read a file, unpacked, and compare it with what was published.

    Raises:
        DataError: It is missing, unreadable, or not the published one.
    """
    path = _find(folder, file)
    if path is None:
        raise DataError(f"{folder / file.name} has vanished; put the published file there")
    return read_path(path, file)


def read_path(path: Path, file: PublishedFile) -> Content:
    """As `read`, from this path, packed if it ends in ".gz"."""
    packed = path.suffix == ".gz"
    try:
        if packed:
            verified = bool(file.packed_md5) and md5(path) == file.packed_md5
            with gzip.open(path) as stream:
                data = stream.read(file.size + 1)
        else:
            verified = False
            with path.open("rb") as stream:
                data = stream.read(file.size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch the published file again") from error
    if file.sha256:
        found = hashlib.sha256(data).hexdigest()
        if found != file.sha256:
            raise DataError(
                f"{path} is not the published file: its unpacked content has SHA-256 {found}, "
                f"not {file.sha256}; fetch the published file again"
            )
        verified = True
    if len(data) > file.size:
        raise DataError(f"{path} holds more than the {file.size:,} bytes of the published file")
    return Content(path, data, verified)


def md5(path: Path) -> str:
    """MD5 of a file in hexadecimal, as publishers of datasets give it. It detects damage, not malice."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _find(folder: Path, file: PublishedFile) -> Path | None:
    plain, packed = folder / file.name, folder / f"{file.name}.gz"
    # First the form whose checksum is published.
    candidates = (packed, plain) if file.packed_md5 else (plain, packed)
    return next((path for path in candidates if path.is_file()), None)


def check_labels(path: Path, labels: npt.NDArray[np.uint8], classes: int, per_class: int | None) -> None:
    """Check that labels lie in 0..classes-1 and, if `per_class` is given, that each occurs this many times.

    Raises:
        DataError: Names the first wrong label, or the numbers found.
    """
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        raise DataError(
            f"{path}: label {labels[wrong[0]]} of example {wrong[0]} is out of range 0..{classes - 1} "
            f"({wrong.size} such labels)"
        )
    found = np.bincount(labels, minlength=classes)
    if per_class is not None and (found != per_class).any():
        raise DataError(
            f"{path} is not the published file: it has {found.tolist()} examples of the classes, "
            f"not {per_class} of each; fetch it again"
        )


def not_verified(names: list[str], why: str) -> str:
    """A note on files whose content was checked but could not be compared; "" if there are none.

    >>> not_verified(["a.bin"], "the published checksum is of the archive")
    'not verified by checksum: a.bin (the published checksum is of the archive)'
    """
    return f"not verified by checksum: {', '.join(names)} ({why})" if names else ""
