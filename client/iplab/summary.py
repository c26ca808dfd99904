"""Final results over seeds: the rows of a results table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        return f"{self.mean:.4f}" if self.sd is None else f"{self.mean:.4f} ± {self.sd:.4f}"


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


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, sd=1.0, n=3)
    """
    mean = statistics.fmean(values) if values else None
    return Spread(mean, statistics.stdev(values) if len(values) > 1 else None, len(values))


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
            test_loss=spread([r.final_test_loss for r in group if r.final_test_loss is not None]),
            test_accuracy=spread([r.final_test_accuracy for r in group if r.final_test_accuracy is not None]),
        )
        for key, group in groups.items()
    ]
