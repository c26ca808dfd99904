"""Groups of runs: means over them, and the best base learning rate of each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ipserver.store.states import RunState

# Default criteria for the best rate: the first of these values that a run has.
CRITERIA: Final = ("best_validation_loss", "final_test_loss")


@dataclass(frozen=True, slots=True)
class Point:
    """The values of a run that groups read.

    Attributes:
        axes: Where it stands in the grid: parameterization, axes of its network, base_learning_rate, seed.
        state: Its state.
        values: Values of its summary by name; None: it has none.
    """

    axes: Mapping[str, Any]
    state: RunState
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation (None: of a single value; NaN: a value is not finite)."""

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that agree in some axes.

    Attributes:
        key: The axes and their values.
        runs: How many there are.
        diverged: How many of them diverged.
        unfinished: How many have neither succeeded nor diverged.
        values: Of those that succeeded, by the name of the value; without values that none of them has.
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
        best: The runs at the best rate; none of them if there is no best rate.
        rate: The best rate; None: at each a run diverged or has no value.
        rates: All that were tried, ascending.
    """

    best: Group
    rate: float | None
    rates: tuple[float, ...]


def grouped(points: Iterable[Point], by: Sequence[str]) -> dict[tuple[Any, ...], list[Point]]:
    """Points by their values of some axes: in their order, but those of a parameterization together."""
    found: dict[tuple[Any, ...], list[Point]] = {}
    place: dict[str, int] = {}
    for point in points:
        place.setdefault(point.axes["parameterization"], len(place))
        found.setdefault(tuple(point.axes[axis] for axis in by), []).append(point)
    if "parameterization" not in by:
        return found
    at = by.index("parameterization")
    return dict(sorted(found.items(), key=lambda group: place[group[0][at]]))


def summary(key: Mapping[str, Any], points: Sequence[Point], values: Iterable[str]) -> Group:
    """The means of a group."""
    ended = [point for point in points if point.state is RunState.SUCCEEDED]
    spreads = {}
    for name in values:
        known = [value for point in ended if (value := point.values[name]) is not None]
        if known:
            spreads[name] = spread(known)
    diverged = sum(point.state is RunState.DIVERGED for point in points)
    return Group(key, len(points), diverged, len(points) - len(ended) - diverged, spreads)


def best_rate(
    key: Mapping[str, Any], points: Sequence[Point], values: Iterable[str], criterion: str, *, largest: bool
) -> BestGroup:
    """The best rate of a group: that with the smallest (or largest) mean of the criterion.

    A rate at which a run diverged, or has no finite value, is out. Of equal ones the first is best.
    """
    at: dict[float, list[Point]] = {}
    for point in points:
        at.setdefault(point.axes["base_learning_rate"], []).append(point)
    means = {rate: mean for rate, there in at.items() if (mean := _mean(there, criterion)) is not None}
    rate = (max if largest else min)(means, key=means.__getitem__) if means else None
    chosen = at[rate] if rate is not None else []
    return BestGroup(summary(key, chosen, values), rate, tuple(sorted(at)))


def criterion_of(points: Iterable[Point]) -> str:
    """The default criterion for the best rate."""
    first, other = CRITERIA
    return first if any(point.values[first] is not None for point in points) else other


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation of at least one value.

    >>> spread([1.0, 2.0, 3.0])
    Spread(mean=2.0, deviation=1.0, count=3)
    """
    count, single = len(values), len(values) == 1
    if not all(map(math.isfinite, values)):
        return Spread(float(statistics.mean(values)), None if single else math.nan, count)
    mean = _mean_of(values)
    if single:
        return Spread(mean, None, 1)
    try:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    except OverflowError:
        deviation = statistics.stdev(values)
    return Spread(mean, deviation, count)


def _mean_of(values: Sequence[float]) -> float:
    """The mean of finite values."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # numbers near the largest double; this takes fifty times as long
        return float(statistics.mean(values))


def _mean(points: Sequence[Point], criterion: str) -> float | None:
    values = [point.values[criterion] for point in points if point.state is not RunState.DIVERGED]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return _mean_of(finite) if len(finite) == len(points) else None
