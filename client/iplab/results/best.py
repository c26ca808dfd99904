"""The best base learning rate of each group of runs, and by what it was chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

from iplab.results.numbers import SETTING_DIGITS, number
from iplab.results.states import RunState
from iplab.results.summary import Spread, by_label, spread

if TYPE_CHECKING:
    from iplab.results.run import Run

# By what a rate may be chosen, best first, and how to say it.
CRITERIA: Final = {
    "best_validation_loss": "the smallest validation loss",
    "final_test_loss": "the final test loss, so test results are a little too good: add validation_size "
    "to the spec",
}


@dataclass(frozen=True, slots=True)
class BestRate:
    """The best rate of runs that differ only in rate and seed.

    Attributes:
        parameterization: Its label.
        hidden_layers: L.
        width: m; math.inf for a limit.
        base_learning_rate: The best one; None if runs diverged, or have no result, at every rate.
        rates: How many were tried.
        bracket: Where it lies among them: "" between others, else "smallest tried" or "largest tried": a
            better one may lie beyond.
        runs: Runs at the best rate.
        criterion: What it was chosen by: a value of runs' summaries. The mean over seeds is smallest; a rate
            at which a run diverged, or has no value, is out.
        criterion_value: That value at the best rate.
        test_loss: At the best rate; of the final weights.
        test_accuracy: Likewise.
    """

    parameterization: str
    hidden_layers: int
    width: float
    activation: str
    base_learning_rate: float | None
    rates: int
    bracket: str
    runs: int
    criterion: str
    criterion_value: Spread
    test_loss: Spread
    test_accuracy: Spread


def best_rates(runs: Iterable[Run]) -> list[BestRate]:
    """The best rate of every group (parameterization, depth, width, activation), ordered by `by_label`."""
    listed = by_label(runs)
    criterion = criterion_of(listed)
    groups: dict[tuple[str, int, float, str], dict[float, list[Run]]] = {}
    for run in listed:
        key = (run.parameterization, run.hidden_layers, run.width, run.activation)
        groups.setdefault(key, {}).setdefault(run.base_learning_rate, []).append(run)
    return [_best(key, rates, criterion) for key, rates in groups.items()]


def criterion_of(runs: Sequence[Run]) -> str:
    """The validation loss if runs have one, else the final test loss."""
    has_validation = any(run.best_validation_loss is not None for run in runs)
    return "best_validation_loss" if has_validation else "final_test_loss"


def _best(key: tuple[str, int, float, str], rates: dict[float, list[Run]], criterion: str) -> BestRate:
    usable = {rate: value for rate, runs in rates.items() if math.isfinite(value := _mean(runs, criterion))}
    best = min(usable, key=usable.__getitem__) if usable else None
    chosen = rates[best] if best is not None else []
    return BestRate(
        *key,
        base_learning_rate=best,
        rates=len(rates),
        bracket=_bracket(best, sorted(rates)),
        runs=len(chosen),
        criterion=criterion,
        criterion_value=_spread(chosen, criterion),
        test_loss=_spread(chosen, "final_test_loss"),
        test_accuracy=_spread(chosen, "final_test_accuracy"),
    )


def _mean(runs: list[Run], criterion: str) -> float:
    """Over seeds; infinity where a run diverged or has no value."""
    values = [getattr(run, criterion) for run in runs]
    if any(run.state is RunState.DIVERGED for run in runs) or None in values:
        return math.inf
    return fmean(values)


def _bracket(best: float | None, rates: list[float]) -> str:
    if best is None or len(rates) < 2:
        return ""
    return "smallest tried" if best == rates[0] else "largest tried" if best == rates[-1] else ""


def _spread(runs: list[Run], result: str) -> Spread:
    return spread([value for run in runs if (value := getattr(run, result)) is not None])


def advice(best: Iterable[BestRate]) -> str:
    """What to try where a best rate is not bracketed; "" where all are."""
    open_ends: dict[str, list[float]] = {}
    for row in best:
        if row.bracket and row.base_learning_rate is not None:
            open_ends.setdefault(row.bracket, []).append(row.base_learning_rate)
    said = []
    for bracket, rates in open_ends.items():
        smaller = bracket.startswith("smallest")
        beyond = min(rates) / 2 if smaller else max(rates) * 2
        way = "smaller" if smaller else "larger"
        groups = f"{len(rates)} group{'s' * (len(rates) > 1)}"
        said.append(
            f"in {groups} the best rate is the {bracket}, so it is not bracketed: add {way} rates, from "
            f"{number(beyond, SETTING_DIGITS)} on"
        )
    return "; ".join(said)
