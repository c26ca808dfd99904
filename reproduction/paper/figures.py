"""Figures and tables of the paper and of its authors' notebooks, and the studies that measure them here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure or table.

    Attributes:
        title: Heading.
        found: What the paper or the notebooks found, as far as it is known here.
        studies: Names of studies.
    """

    title: str
    found: str
    studies: tuple[str, ...]


_NOT_QUOTED: Final = "Their values are not at hand here, so none stands beside ours."

FIGURES: Final = (
    Figure(
        "Naive IP stands still",
        "From three hidden layers on the output of naive IP does not move in the limit; with two it does. "
        "Their study: MNIST, ReLU and GELU, L = 2..5, m = 128..1400, base rate 0.001, batches of 128.",
        ("stationarity",),
    ),
    Figure(
        "Sizes and their changes",
        "IP vanishes at initialization, layer by layer; the first rates of IP-LLR are the powers of the "
        "width that move every layer by order 1 in one step.",
        ("coordinate-check",),
    ),
    Figure(
        "IP-LLR is a muP without its initial hidden matrices",
        "IP-LLR is equivalent to a muP whose initial hidden matrices stop to contribute after the first "
        "step.",
        ("equivalence", "contributions"),
    ),
    Figure(
        "Calibrated first rates",
        "Constants of the first rates are found before training, and capped (at 500 in 2021, at 1000 in "
        "2023). The paper notes that activations differ, and leaves it open why.",
        ("calibrated-rates", "relu-first-step"),
    ),
    Figure(
        "MNIST: accuracies and training curves",
        "Mean test accuracy of IP-LLR over five seeds (2021, L = 6, m = 1024): ReLU 0.1127, GELU 0.9556, ELU "
        "0.9643, tanh 0.9323. ReLU stayed at chance in all five seeds. In 2023, L = 5: ReLU 0.8658 at base "
        "rate 0.09.",
        ("authors-mnist", "authors-mnist-methods", "training-curves", "relu-ip-llr", "authors-sweep-mnist"),
    ),
    Figure(
        "CIFAR-10: accuracies",
        "Mean test accuracy on grey CIFAR-10 over five seeds (2021; ReLU, GELU, ELU, tanh): IP-LLR 0.1000, "
        "0.3289, 0.3829, 0.2836; muP 0.4070, 0.4194, 0.3560, 0.3043; IP-non-centered 0.1053, 0.1029, 0.1545, "
        "0.1466; IP-bias 0.1000 throughout. In 2023, L = 5: IP-LLR with ReLU 0.3990 at base rate 0.1.",
        ("authors-cifar10", "authors-sweep-cifar10"),
    ),
    Figure(
        "Ranks of updates and activations",
        "The notebooks estimate ranks of W_t - W_0 and of activations over training, in three ways. "
        + _NOT_QUOTED,
        ("ranks",),
    ),
    Figure(
        "Functions of one variable",
        f"The notebooks draw functions of one variable that each method has learned. {_NOT_QUOTED}",
        ("functions",),
    ),
    Figure(
        "Large rates kept too long",
        "A variant in the authors' code keeps the large first rates for further steps, and explodes.",
        ("kept-rates",),
    ),
    Figure(
        "Renormalized second steps",
        f"A variant in the authors' code calibrates the second step as well. {_NOT_QUOTED}",
        ("second-steps",),
    ),
)
