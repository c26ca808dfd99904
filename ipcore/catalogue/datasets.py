"""Datasets: built-in ones, members of families, registered files. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ipcore.catalogue.entries import table
from ipcore.catalogue.families import FAMILIES, is_member, parse
from ipcore.errors import DataError, unknown


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Properties of a dataset that are known before it is loaded.

    Attributes:
        name: Canonical name, as in specs.
        description: One line.
        input_dim: Numbers per input, d.
        classes: Number of classes C; 0 for real-valued targets.
        train_size: Training examples.
        test_size: Test examples.
        target_dim: Numbers per target, k; 0 for classes.
        note: Files that could not be verified when it was checked, or "".
    """

    name: str
    description: str
    input_dim: int
    classes: int
    train_size: int
    test_size: int
    target_dim: int = 0
    note: str = ""


DATASETS: Final[Mapping[str, DatasetInfo]] = table(
    (
        DatasetInfo("digits", "8x8 handwritten digits inside scikit-learn (1,797 images)", 64, 10, 1437, 360),
        DatasetInfo("mnist", "28x28 handwritten digits, the published IDX files", 784, 10, 60_000, 10_000),
        DatasetInfo("fashion-mnist", "28x28 articles of clothing, IDX files", 784, 10, 60_000, 10_000),
        DatasetInfo("cifar10", "32x32 colour photographs, binary version", 3072, 10, 50_000, 10_000),
        DatasetInfo("cifar10-grey", "CIFAR-10 in grey (BT.601 luma)", 1024, 10, 50_000, 10_000),
    )
)
# Images; they are bytes before they are normalized.
IMAGES: Final = frozenset({"mnist", "fashion-mnist", "cifar10", "cifar10-grey"})
REGISTERED: Final = "registered:"
_REGISTERED_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
REGISTERED_RULE: Final = "a lower-case letter or digit, then at most 62 of them and '.', '_', '-'"


def dataset_info(name: str) -> DatasetInfo:
    """Properties of a dataset by its name; not of registered files, which must be read for that.

    Args:
        name: A name in `DATASETS`, or of a family with parameters (`ipcore.catalogue.families`).

    Raises:
        DataError: Unknown name, or wrong parameters; names every one and what is allowed.

    >>> dataset_info("digits").classes, dataset_info("single-index:d=16").input_dim
    (10, 16)
    """
    if name in DATASETS:
        return DATASETS[name]
    if is_member(name):
        member = parse(name)
        sizes = member.integer("n"), member.integer("test")
        target_dim = 0 if member.classes else 1
        text = member.family.description
        return DatasetInfo(member.name, text, member.input_dim, member.classes, *sizes, target_dim)
    if name.startswith(REGISTERED):
        registered_file(name)
        raise DataError(f"{name!r} is a registered file; its sizes are known only where its folder is")
    raise DataError(unknown("dataset", name[:100], [*DATASETS, *FAMILIES, f"{REGISTERED}NAME"]))


def registered_file(name: str) -> str:
    """The file name, without its suffix, of a registered dataset.

    Raises:
        DataError: Not such a name. A valid file name has no separator and does not begin with a dot.

    >>> registered_file("registered:spirals")
    'spirals'
    """
    stem = name.removeprefix(REGISTERED)
    if not name.startswith(REGISTERED) or not _REGISTERED_NAME.fullmatch(stem):
        raise DataError(
            f"{name[:100]!r} is not the name of a registered file: after '{REGISTERED}' it has "
            f"{REGISTERED_RULE}"
        )
    return stem


def canonical_name(name: str) -> str:
    """The name under which a dataset is stored: a family's with all parameters, others as they are.

    An unknown name is returned unchanged; validation reports it.

    >>> canonical_name("parity:k=3,d=20")
    'parity:d=20,k=3,n=4096,test=1024,flip=0,seed=0'
    """
    try:
        return parse(name).name if is_member(name) else name
    except DataError:
        return name
