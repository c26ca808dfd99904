"""What specs may name: activations, losses, optimizers, biases, datasets. Standard library only.

The API process validates against this without importing torch; the code behind each name is elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ipcore.catalogue.activations import ACTIVATION_VARIANCE
from ipcore.catalogue.families import FAMILIES, is_member, parse
from ipcore.errors import DataError, unknown

# Besides these there is "relu^p" for every rational p >= 1.
ACTIVATIONS: Final = tuple(ACTIVATION_VARIANCE)
LOSSES: Final = ("cross_entropy", "mse", "logistic", "exponential")
OPTIMIZERS: Final = ("sgd", "momentum", "adam", "adamw")
# What matmuls are computed in; weights, rates, losses and all that is recorded are single precision in each.
PRECISIONS: Final = ("fp32", "tf32", "bf16")
SCHEDULES: Final = ("constant", "linear", "cosine", "step")
PROBES: Final = ("coordinates", "parts", "gradients", "alignment", "ranks", "kernels")
BIASES: Final = ("first", "none")
# Losses of one output and labels y = +-1.
_BINARY_LOSSES: Final = frozenset({"logistic", "exponential"})
METRICS: Final = (
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
)


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What is known of a dataset before it is loaded.

    Attributes:
        name: Canonical name, as in specs.
        description: One line for people.
        input_dim: Numbers per input, d.
        classes: Number of classes C; 0 for real-valued targets.
        train_size: Training examples.
        test_size: Test examples.
        target_dim: Numbers per target, k; 0 for classes.
        note: What could not be verified when it was looked at, or "".
    """

    name: str
    description: str
    input_dim: int
    classes: int
    train_size: int
    test_size: int
    target_dim: int = 0
    note: str = ""


DATASETS: Final[dict[str, DatasetInfo]] = {
    info.name: info
    for info in (
        DatasetInfo("digits", "8x8 handwritten digits inside scikit-learn (1,797 images)", 64, 10, 1437, 360),
        DatasetInfo("mnist", "28x28 handwritten digits, the published IDX files", 784, 10, 60_000, 10_000),
        DatasetInfo("fashion-mnist", "28x28 articles of clothing, IDX files", 784, 10, 60_000, 10_000),
        DatasetInfo("cifar10", "32x32 colour photographs, binary version", 3072, 10, 50_000, 10_000),
        DatasetInfo("cifar10-grey", "CIFAR-10 in grey (BT.601 luma)", 1024, 10, 50_000, 10_000),
    )
}
# Images, which are bytes before they are normalized.
IMAGES: Final = frozenset({"mnist", "fashion-mnist", "cifar10", "cifar10-grey"})
REGISTERED: Final = "registered:"
_REGISTERED_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
REGISTERED_RULE: Final = "a lower-case letter or digit, then at most 62 of them and '.', '_', '-'"


def dataset_info(name: str) -> DatasetInfo:
    """What a name means, for all datasets but the registered files, which only their folder knows.

    Args:
        name: Of `DATASETS`, or of a family with parameters (`ipcore.catalogue.families`).

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
        raise DataError(f"{name!r} is a registered file; its sizes are known where its folder is")
    raise DataError(unknown("dataset", name[:100], [*DATASETS, *FAMILIES, f"{REGISTERED}NAME"]))


def registered_file(name: str) -> str:
    """The file name, without its suffix, of a registered dataset.

    Raises:
        DataError: Not such a name. What passes holds no separator and does not begin with a dot.

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

    A name that means nothing stays as it is, for whoever checks it.

    >>> canonical_name("parity:k=3,d=20")
    'parity:d=20,k=3,n=4096,test=1024,flip=0,seed=0'
    """
    try:
        return parse(name).name if is_member(name) else name
    except DataError:
        return name


def loss_misfit(loss: str, info: DatasetInfo) -> str:
    """Why a loss cannot be used with a dataset's labels; "" if it can.

    Losses that the catalogue does not know fit everything: naming them is for whoever checks the name.

    >>> loss_misfit("cross_entropy", DATASETS["digits"])
    ''
    """
    if loss == "cross_entropy" and info.classes < 2:
        return f"{loss!r} needs classes as labels, but {info.name!r} has real-valued targets; use 'mse'"
    if loss in _BINARY_LOSSES and info.classes != 2:
        has = f"{info.classes} classes" if info.classes else "real-valued targets"
        instead = "'cross_entropy' or 'mse'" if info.classes else "'mse'"
        return f"{loss!r} needs exactly 2 classes, but {info.name!r} has {has}; use {instead}"
    return ""


def output_dim(loss: str, info: DatasetInfo) -> int:
    """Numbers that a network puts out for this loss and dataset.

    One for the losses of the margin y f with y = +-1; else one per class or per number of a target.

    >>> output_dim("cross_entropy", DATASETS["digits"])
    10
    """
    return 1 if loss in _BINARY_LOSSES else info.classes or info.target_dim
