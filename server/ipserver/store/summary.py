"""The values of a run's summary, declared in one place.

Each value is declared once, as a field of `Summary`: its name, its type, and its metric point. The columns
of `runs`, the fields of filters, and the values sent by the API and to MLflow follow from it. To add a value,
declare it here and in the message `RunSummary`, and write a migration for its column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum, auto
from typing import Final, get_args, get_type_hints


class Keep(Enum):
    """Which point of a metric becomes the value."""

    NEWEST = auto()
    SMALLEST = auto()
    LARGEST = auto()
    # After the last update.
    FINAL = auto()
    # At the step `best_validation_step`.
    AT_BEST_VALIDATION = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """How a value is derived from a run's metric points.

    Attributes:
        keep: Which point becomes the value.
        metric: Name of the metric: "test_loss".
        forwarded: Whether MLflow gets the value at the run's end, as a metric at `best_validation_step`.
    """

    keep: Keep
    metric: str
    forwarded: bool = False


def _rule(keep: Keep, metric: str, *, forwarded: bool = False) -> dict[str, Rule]:
    return {"rule": Rule(keep, metric, forwarded)}


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of a run's metrics. Each value is None until it is known.

    A value without a rule is set by the code that determines it.

    Attributes:
        diverged_step: Update at which the training loss was not finite; set by the trainer.
        best_validation_step: Updates done at the first maximum of validation accuracy, or at the first
            minimum of validation loss if there is no accuracy.
    """

    last_train_loss: float | None = field(default=None, metadata=_rule(Keep.NEWEST, "train_loss"))
    best_test_loss: float | None = field(default=None, metadata=_rule(Keep.SMALLEST, "test_loss"))
    best_test_accuracy: float | None = field(default=None, metadata=_rule(Keep.LARGEST, "test_accuracy"))
    final_test_loss: float | None = field(default=None, metadata=_rule(Keep.FINAL, "test_loss"))
    final_test_accuracy: float | None = field(default=None, metadata=_rule(Keep.FINAL, "test_accuracy"))
    diverged_step: int | None = None
    best_validation_loss: float | None = field(
        default=None, metadata=_rule(Keep.SMALLEST, "validation_loss", forwarded=True)
    )
    best_validation_accuracy: float | None = field(
        default=None, metadata=_rule(Keep.LARGEST, "validation_accuracy", forwarded=True)
    )
    best_validation_step: int | None = None
    test_loss_at_best_validation: float | None = field(
        default=None, metadata=_rule(Keep.AT_BEST_VALIDATION, "test_loss", forwarded=True)
    )
    test_accuracy_at_best_validation: float | None = field(
        default=None, metadata=_rule(Keep.AT_BEST_VALIDATION, "test_accuracy", forwarded=True)
    )
    final_limit_error: float | None = field(default=None, metadata=_rule(Keep.FINAL, "limit_error"))


def _type(hint: object) -> type[float] | type[int]:
    return int if int in get_args(hint) else float


# Type of each value, in the order of the declarations.
VALUES: Final[Mapping[str, type[float] | type[int]]] = {
    name: _type(hint) for name, hint in get_type_hints(Summary).items()
}
RULES: Final[Mapping[str, Rule]] = {
    entry.name: entry.metadata["rule"] for entry in fields(Summary) if "rule" in entry.metadata
}


def names(keep: Keep) -> dict[str, str]:
    """Metric names of the values with this rule, by the value's name."""
    return {name: rule.metric for name, rule in RULES.items() if rule.keep is keep}
