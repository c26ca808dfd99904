"""Choices without settings: precisions, biases, normalizations, kept weights; metrics of every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ipcore.catalogue.entries import table


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words.

    Attributes:
        name: Name in specs.
        description: One line.
    """

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Precision:
    """Number format of matmuls. Weights, rates, losses and all recorded values are single precision.

    Attributes:
        name: Name in specs.
        description: One line.
        gpu_only: CPUs cannot do it.
    """

    name: str
    description: str
    gpu_only: bool = False


PRECISIONS: Final[Mapping[str, Precision]] = table(
    (
        Precision("fp32", "single precision throughout"),
        Precision(
            "tf32",
            "GPUs: inputs of matmuls are rounded to 10 bits of mantissa, sums are single precision",
            gpu_only=True,
        ),
        Precision(
            "bf16",
            "activations and derivatives are bfloat16, weights and all that is recorded single precision",
        ),
    )
)
BIASES: Final[Mapping[str, Choice]] = table(
    (
        Choice("first", "the first layer has one, which shares its exponents, as in arXiv:2110.15596"),
        Choice("none", "no layer has one"),
    )
)
NORMALIZATIONS: Final[Mapping[str, Choice]] = table(
    (
        Choice("none", "none: x^l = phi(h^l)"),
        Choice(
            "rms",
            "RMSNorm of preactivations without trained gains, x^l = phi(h^l / rms(h^l)) (arXiv:1910.07467)",
        ),
    )
)
KEPT_WEIGHTS: Final[Mapping[str, Choice]] = table(
    (
        Choice("none", "none"),
        Choice("final", "those after the last update"),
        Choice("initial_and_final", "those before the first and after the last update"),
        Choice("every", "those of every weights_interval updates, the first and the last"),
    )
)
METRICS: Final = (
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "validation_loss",
    "validation_accuracy",
)
