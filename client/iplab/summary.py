"""Final results over seeds: the rows of a results table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iplab.numbers import mean_and_deviation
from iplab.states import Regime, RunState

if TYPE_CHECKING:
    from iplab.run import Run


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds.

    Attributes:
        mean: Of the runs that have a value; None if none has.
        sd: Sample standard deviation (n - 1 in the denominator); None with fewer than two values.
        n: Number of values.
    """

    mean: float | None
    sd: float | None
    n: int

    def __str__(self) -> str:
        """As in tables: "0.9370 ± 0.0446", "0.9370" of one value, "-" of none."""
        if self.mean is None:
            return "-"
        return mean_and_deviation(self.mean, self.sd)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """Runs that differ only in their seed.

    Attributes:
        parameterization: Its label.
        hidden_layers: L.
        width: m.
        base_learning_rate: eta.
        predicted_regime: What theory says of it in the limit of infinite width.
        runs: How many there are.
        diverged: How many ended by a loss that is not finite; they are in no mean.
        unfinished: How many are neither succeeded nor diverged: waiting, training, failed or cancelled.
        test_loss: Of the final weights, in nats.
        test_accuracy: Of the final weights, in [0, 1].
        test_loss_at_best_validation: Of the weights with the best validation; n = 0 without a validation set.
        test_accuracy_at_best_validation: Likewise.
    """

    parameterization: str
    hidden_layers: int
    width: int
    activation: str
    base_learning_rate: float
    predicted_regime: Regime
    runs: int
    diverged: int
    unfinished: int
    test_loss: Spread
    test_accuracy: Spread
    test_loss_at_best_validation: Spread
    test_accuracy_at_best_validation: Spread


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, sd=1.0, n=3)
    """
    # `statistics.mean` is exact: the sum of numbers near the largest double does not overflow.
    mean = float(statistics.mean(values)) if values else None
    sd = None
    if len(values) > 1:
        sd = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
    return Spread(mean, sd, len(values))


def summarize(runs: Iterable[Run]) -> list[SummaryRow]:
    """One row per group of runs that differ only in their seed, in the grid's order."""
    groups: dict[tuple[str, int, int, str, float], list[Run]] = {}
    for run in runs:
        key = (
            run.parameterization,
            run.hidden_layers,
            run.width,
            run.activation,
            run.base_learning_rate,
        )
        groups.setdefault(key, []).append(run)
    return [
        SummaryRow(
            *key,
            predicted_regime=group[0].predicted_regime,
            runs=len(group),
            diverged=sum(run.state is RunState.DIVERGED for run in group),
            unfinished=sum(run.state not in {RunState.SUCCEEDED, RunState.DIVERGED} for run in group),
            test_loss=spread(_values(r.final_test_loss for r in group)),
            test_accuracy=spread(_values(r.final_test_accuracy for r in group)),
            test_loss_at_best_validation=spread(_values(_at_best(r, "loss") for r in group)),
            test_accuracy_at_best_validation=spread(_values(_at_best(r, "accuracy") for r in group)),
        )
        for key, group in groups.items()
    ]


def _at_best(run: Run, what: str) -> float | None:
    """Of runs with a final result alone, so that both are means over the same runs."""
    if run.state is not RunState.SUCCEEDED:
        return None
    return run.test_loss_at_best_validation if what == "loss" else run.test_accuracy_at_best_validation


def _values(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
