"""Losses: properties that are known without torch, and the datasets that they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ipcore.catalogue.datasets import DatasetInfo
from ipcore.catalogue.entries import table


@dataclass(frozen=True, slots=True)
class Derivative:
    """How dloss/df behaves: the rule of a loss in the exponent calculus.

    Attributes:
        description: For people.
        bounded: |dloss/df| stays bounded; else it is as large as f where that grows.
        cancels: The derivatives with respect to the outputs sum to exactly 0.
    """

    description: str
    bounded: bool
    cancels: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss.

    Attributes:
        name: Name in specs.
        description: One-line description; f are the outputs, y the targets.
        labels: "classes": it needs classes; "two": exactly two of them, y = +-1 and one output; "any":
            classes or real-valued targets.
        derivative: Rule of theory; None: theory does not cover it.
        implementation: Object of type `ipcore.engine.losses.Loss`, as "module:name".
    """

    name: str
    description: str
    labels: Literal["classes", "two", "any"]
    derivative: Derivative | None
    implementation: str


_TORCH: Final = "ipcore.engine.losses"
LOSSES: Final[Mapping[str, Loss]] = table(
    (
        Loss(
            "cross_entropy",
            "-log softmax(f)_label, one output per class",
            "classes",
            Derivative(
                "softmax: bounded derivatives, which sum to 0 over the outputs", bounded=True, cancels=True
            ),
            f"{_TORCH}:CROSS_ENTROPY",
        ),
        Loss(
            "mse",
            "|f - y|^2 / 2; classes are one-hot targets",
            "any",
            Derivative("derivative as large as the output", bounded=False),
            f"{_TORCH}:MSE",
        ),
        Loss(
            "logistic",
            "log(1 + e^(-y f)), one output, two classes y = +-1",
            "two",
            Derivative("one output, bounded derivative", bounded=True),
            f"{_TORCH}:LOGISTIC",
        ),
        Loss(
            "exponential", "e^(-y f), one output, two classes y = +-1", "two", None, f"{_TORCH}:EXPONENTIAL"
        ),
    )
)


def loss_misfit(loss: str, info: DatasetInfo) -> str:
    """Why a loss cannot be used with a dataset's labels; "" if it can.

    An unknown loss fits every dataset; the check of its name reports it.

    >>> from ipcore.catalogue.datasets import DATASETS
    >>> loss_misfit("cross_entropy", DATASETS["digits"])
    ''
    """
    needs = LOSSES[loss].labels if loss in LOSSES else "any"
    if needs in ("classes", "two") and info.classes == 1:
        return f"{loss!r} needs at least 2 classes, but {info.name!r} has 1; merge it with examples of others"
    if needs == "classes" and info.classes < 2:
        return f"{loss!r} needs classes as labels, but {info.name!r} has real-valued targets; use 'mse'"
    if needs == "two" and info.classes != 2:
        has = f"{info.classes} classes" if info.classes else "real-valued targets"
        instead = "'cross_entropy' or 'mse'" if info.classes else "'mse'"
        return f"{loss!r} needs exactly 2 classes, but {info.name!r} has {has}; use {instead}"
    return ""


def output_dim(loss: str, info: DatasetInfo) -> int:
    """Number of outputs of a network for this loss and dataset.

    One for the losses of the margin y f with y = +-1; else one per class or per number of a target.

    >>> from ipcore.catalogue.datasets import DATASETS
    >>> output_dim("cross_entropy", DATASETS["digits"])
    10
    """
    return 1 if LOSSES[loss].labels == "two" else info.classes or info.target_dim
