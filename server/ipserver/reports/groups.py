"""Groups of runs: means over them, and the best base learning rate of each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Final

from ipserver.store.states import RunState

# Default criteria for the best rate: the first of these values that a run has.
CRITERIA: Final = ("best_validation_loss", "final_test_loss")


# Runs as columns of equal length: axes of the grid, "state", and values of summaries (None if missing).
Runs = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation: None for a single value, NaN if a value is not finite."""

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that agree in some axes.

    Attributes:
        key: The axes and their values.
        runs: Number of runs.
        diverged: Number of runs that diverged.
        unfinished: Number of runs that neither succeeded nor diverged.
        values: Values of succeeded runs, by name; values that no run has are missing.
    """

    key: Mapping[str, Any]
    runs: int
    diverged: int
    unfinished: int
    values: Mapping[str, Spread]


@dataclass(frozen=True, slots=True)
class BestGroup:
    """The best base learning rate of runs that agree in some other axes.

    Attributes:
        best: The runs at the best rate; empty if there is none.
        rate: The best rate; None if at each rate a run diverged or has no value.
        rates: All rates, ascending.
    """

    best: Group
    rate: float | None
    rates: tuple[float, ...]


def summary(key: Mapping[str, Any], runs: Runs, values: Iterable[str]) -> Group:
    """The means of a group."""
    states = runs["state"]
    succeeded = [state is RunState.SUCCEEDED for state in states]
    spreads = {}
    for name in values:
        known = [value for value in compress(runs[name], succeeded) if value is not None]
        if known:
            spreads[name] = spread(known)
    diverged = sum(state is RunState.DIVERGED for state in states)
    return Group(key, len(states), diverged, len(states) - sum(succeeded) - diverged, spreads)


def best_rate(
    key: Mapping[str, Any], runs: Runs, values: Iterable[str], criterion: str, *, largest: bool
) -> BestGroup:
    """The best rate of a group: the one with the smallest (or largest) mean of the criterion.

    Rates at which a run diverged or has no finite value are excluded. Of equal rates the first is best.
    """
    at: dict[float, list[int]] = {}
    for number, rate in enumerate(runs["base_learning_rate"]):
        at.setdefault(rate, []).append(number)
    means = {rate: mean for rate, there in at.items() if (mean := _mean(runs, there, criterion)) is not None}
    best = (max if largest else min)(means, key=means.__getitem__) if means else None
    chosen = at[best] if best is not None else []
    there = {name: [column[number] for number in chosen] for name, column in runs.items()}
    return BestGroup(summary(key, there, values), best, tuple(sorted(at)))


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, deviation=1.0, count=3)
    >>> spread([0.1, 0.1, 0.1])
    Spread(mean=0.1, deviation=0.0, count=3)
    """
    count, single = len(values), len(values) == 1
    if not all(map(math.isfinite, values)):
        return Spread(float(statistics.mean(values)), None if single else math.nan, count)
    mean = _mean_of(values)
    if single:
        return Spread(mean, None, 1)
    if min(values) == max(values):  # rounding may move their mean
        return Spread(values[0], 0.0, count)
    try:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    except OverflowError:
        deviation = statistics.stdev(values)
    return Spread(mean, deviation, count)


def _mean_of(values: Sequence[float]) -> float:
    """The mean of finite values."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # values near the largest double; this is fifty times slower
        return float(statistics.mean(values))


def _mean(runs: Runs, numbers: Sequence[int], criterion: str) -> float | None:
    """The mean of a value over runs; None if a run diverged or has no finite value."""
    states, values = runs["state"], runs[criterion]
    found = [values[number] for number in numbers if states[number] is not RunState.DIVERGED]
    finite = [value for value in found if value is not None and math.isfinite(value)]
    return _mean_of(finite) if len(finite) == len(numbers) else None
