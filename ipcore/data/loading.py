"""From a dataset's name to its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from ipcore.catalogue import REGISTERED, DatasetInfo, dataset_info
from ipcore.catalogue.families import is_member, parse
from ipcore.data import cifar, digits, functions, idx, registered, teachers
from ipcore.data.dataset import Dataset

PUBLISHED: Final[dict[str, idx.IdxSource | cifar.CifarSource]] = {
    source.name: source for source in (idx.MNIST, idx.FASHION_MNIST, cifar.COLOUR, cifar.GREY)
}
Signature = tuple[tuple[str, int, int], ...]


def load_dataset(name: str, data_root: str | Path | None = None) -> Dataset:
    """Read, verify and normalize a dataset, or draw one.

    Args:
        name: A key of `ipcore.catalogue.DATASETS`, of a family with parameters (`ipcore.catalogue.families`),
            or
            "registered:<file>" (`ipcore.data.registered`).
        data_root: Folder that holds ``mnist/``, ``registered/`` and so on; not needed for ``digits`` and
            families.

    Raises:
        DataError: Unknown name, or files that are missing, damaged or not the published ones.

    >>> digits = load_dataset("digits")
    >>> digits.train.inputs.shape, len(digits.test), digits.classes
    ((1437, 64), 360, 10)
    >>> load_dataset("parity:d=8,k=2,n=100").name
    'parity:d=8,k=2,n=100,test=1024,flip=0,seed=0'
    """
    if name.startswith(REGISTERED):
        return registered.load(name, data_root)
    info = dataset_info(name)
    if info.name in PUBLISHED:
        return PUBLISHED[info.name].load(data_root)
    if is_member(info.name):
        member = parse(info.name)
        return functions.load(member) if member.family.name == "function" else teachers.load(member)
    return digits.load()


def check_dataset(name: str, data_root: str | Path | None = None) -> DatasetInfo:
    """Check that a dataset can be loaded, with its checksums, without keeping it.

    Imports neither torch nor scikit-learn. Nothing is drawn for families: their names say everything.

    Returns:
        What is known of it; `note` says what could not be verified.

    Raises:
        DataError: As `load_dataset`; says what is wrong, where it was looked for, and what to do.
    """
    if name.startswith(REGISTERED):
        path = registered.find(name, data_root)
        return replace(registered.load(name, data_root).info, description=f"registered file {path.name}")
    info = dataset_info(name)
    if info.name in PUBLISHED:
        return replace(info, note=PUBLISHED[info.name].check(data_root))
    if info.name == "digits":
        digits.check()
    return info


def registered_names(data_root: str | Path | None) -> tuple[str, ...]:
    """Names of the registered files below a data folder, usable or not."""
    return registered.names(data_root)


def files_signature(name: str, data_root: str | Path | None) -> Signature:
    """Names, sizes in bytes and modification times in ns of a dataset's files.

    It changes when the files do, so what was found about them can be kept until then. Empty for what has no
    files.

    Raises:
        OSError: The folder cannot be read.
    """
    if data_root is None:
        return ()
    root = Path(data_root)
    if name.startswith(REGISTERED):
        folder, stem = root / registered.FOLDER, name.removeprefix(REGISTERED)
        paths = [folder / f"{stem}{suffix}" for suffix in registered.SUFFIXES] if "/" not in stem else []
        paths = [path for path in paths if path.is_file()]
    elif name in PUBLISHED:
        folder = root / PUBLISHED[name].folder
        paths = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    else:
        return ()
    status = sorted((path.relative_to(folder).as_posix(), path.stat()) for path in paths)
    return tuple((file, found.st_size, found.st_mtime_ns) for file, found in status)
