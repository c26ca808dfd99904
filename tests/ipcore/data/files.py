"""Small files in the published formats, with their own checksums instead of the published ones.

Sources take sizes and checksums as values, so no copy of Fashion-MNIST or CIFAR-10 is needed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from ipcore.data import cifar
from ipcore.data.idx import IdxSource
from ipcore.data.published import PublishedFile

RECORDS = 20


def idx_bytes(values: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_idx(source: IdxSource, root: Path) -> IdxSource:
    """Plain IDX files of 20 training and 10 test images, two and one of each class; their source."""
    rng = np.random.default_rng(0)
    folder = root / source.folder
    folder.mkdir()
    files = []
    for part, n in ((0, 20), (1, 10)):
        arrays = rng.integers(0, 256, (n, 28, 28)), rng.permutation(np.arange(n) % 10)
        for published, values in zip(source.files[2 * part : 2 * part + 2], arrays, strict=True):
            content = idx_bytes(values)
            (folder / published.name).write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest() if published.sha256 else ""
            packed = hashlib.md5(packed_bytes(content)).hexdigest() if published.packed_md5 else ""
            files.append(PublishedFile(published.name, len(content), sha256, packed))
    train_inputs, train_labels, test_inputs, test_labels = files
    return replace(
        source,
        train_inputs=train_inputs,
        train_labels=train_labels,
        test_inputs=test_inputs,
        test_labels=test_labels,
        per_class=(2, 1) if source.per_class else None,
    )


def packed_bytes(content: bytes) -> bytes:
    """Packed with a fixed time in the header, so that the bytes have a fixed checksum."""
    return gzip.compress(content, mtime=1)


def pack(folder: Path, mtime: int = 1) -> None:
    """Replace all plain files by packed ones."""
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=mtime))
        path.unlink()


def cifar_records(seed: int) -> np.ndarray:
    """20 records, two of each class, in a fixed random order; shape (20, 3073)."""
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (RECORDS, 3073)).astype(np.uint8)
    records[:, 0] = rng.permutation(np.arange(RECORDS) % 10)
    return records


def cifar_batches() -> dict[str, bytes]:
    names = (*cifar.TRAIN_FILES, *cifar.TEST_FILES)
    return {name: cifar_records(seed).tobytes() for seed, name in enumerate(names)}


def write_cifar(source: cifar.CifarSource, root: Path) -> cifar.CifarSource:
    """Unpacked binary files of 20 records each; their source."""
    folder = root / source.folder / cifar.FOLDER
    folder.mkdir(parents=True)
    for name, content in cifar_batches().items():
        (folder / name).write_bytes(content)
    return replace(source, records=RECORDS)


def write_archive(
    source: cifar.CifarSource, root: Path, members: dict[str, bytes | tarfile.TarInfo]
) -> cifar.CifarSource:
    """An archive with these members below its folder, and a source with its checksum."""
    folder = root / source.folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / cifar.ARCHIVE
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    return replace(source, records=RECORDS, archive_md5=md5)
