"""What specs may name: activations, losses, optimizers, biases, datasets. Standard library only.

The API process validates against this without importing torch; the code behind each name is elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# s^2 of the initial weights that keeps activations Theta(1) (authors' code of arXiv:2110.15596).
ACTIVATION_VARIANCE: Final[dict[str, float]] = {"relu": 2.0, "gelu": 4.0, "elu": 1.0, "tanh": 1.0}
ACTIVATIONS: Final = tuple(ACTIVATION_VARIANCE)
LOSSES: Final = ("cross_entropy",)
OPTIMIZERS: Final = ("sgd",)
SCHEDULES: Final = ("constant", "linear", "cosine", "step")
PROBES: Final = ("coordinates", "gradients", "alignment", "ranks", "kernels")
BIASES: Final = ("first", "none")
METRICS: Final = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What is known of a dataset before it is loaded.

    Attributes:
        name: Name in specs.
        description: One line for people.
        input_dim: Numbers per input, d.
        classes: Number of classes; 0 for real-valued targets.
        train_size: Training examples.
        test_size: Test examples.
    """

    name: str
    description: str
    input_dim: int
    classes: int
    train_size: int
    test_size: int


DATASETS: Final[dict[str, DatasetInfo]] = {
    info.name: info
    for info in (
        DatasetInfo("digits", "8x8 handwritten digits inside scikit-learn (1,797 images)", 64, 10, 1437, 360),
        DatasetInfo("mnist", "28x28 handwritten digits, the published IDX files", 784, 10, 60_000, 10_000),
    )
}
