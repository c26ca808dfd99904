"""Values of runs as arrays: one entry per seed, NaN where a run has none."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ipcore.studies.line import Ledger
from ipcore.studies.measures.judged import Values
from ipcore.studies.results import Metric, Run, Value

Floats = npt.NDArray[np.float64]


def numbers(ledger: Ledger, subject: str, rate: float, metric: Metric) -> Values:
    """The values of a metric, unchanged."""

    def values(width: int, seeds: int) -> Floats:
        return np.array(
            [_number(_value(ledger, Run(subject, width, rate, seed), metric)) for seed in range(seeds)]
        )

    return values


def logs(ledger: Ledger, subject: str, rate: float, metric: Metric) -> Values:
    """Natural logarithm of a size; -inf of 0."""
    return _log(numbers(ledger, subject, rate, metric))


def times_log_width(ledger: Ledger, subject: str, rate: float, metric: Metric) -> Values:
    """Natural logarithm of a metric that is recorded to the base m."""
    plain = numbers(ledger, subject, rate, metric)
    return lambda width, seeds: plain(width, seeds) * math.log(width)


def vectors(ledger: Ledger, subject: str, rate: float, metric: Metric) -> Values:
    """A vector per seed, [seeds, entries]; NaN in all entries where there is none."""

    def values(width: int, seeds: int) -> Floats:
        found = [_value(ledger, Run(subject, width, rate, seed), metric) for seed in range(seeds)]
        length = max((len(one) for one in found if isinstance(one, tuple)), default=1)
        rows = [one if isinstance(one, tuple) else (math.nan,) * length for one in found]
        return np.array(rows, np.float64)

    return values


def distances(left: Values, right: Values) -> Values:
    """Rms over entries of the difference of the vectors of each seed."""
    return lambda width, seeds: _rms(left(width, seeds) - right(width, seeds))


def distances_from(values: Values, centre: tuple[float, ...]) -> Values:
    """Rms over entries of the distance from one vector."""
    return lambda width, seeds: _rms(values(width, seeds) - np.array(centre))


def pair_distances(values: Values) -> Values:
    """Rms |q_2i - q_2i+1| of disjoint pairs; so many pairs as seeds are asked for."""

    def found(width: int, seeds: int) -> Floats:
        both = values(width, 2 * seeds)
        return _rms(both[0::2] - both[1::2])

    return found


def differences(left: Values, right: Values) -> Values:
    """Left - right, seed by seed."""
    return lambda width, seeds: left(width, seeds) - right(width, seeds)


def log_of(values: Values) -> Values:
    """Natural logarithm."""
    return _log(values)


def twice(values: Values) -> Values:
    """Both seeds of each pair."""
    return lambda width, seeds: values(width, 2 * seeds)


def _log(values: Callable[[int, int], Floats]) -> Values:
    def found(width: int, seeds: int) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(values(width, seeds)), np.float64)

    return found


def _value(ledger: Ledger, run: Run, metric: Metric) -> Value | None:
    outcome = ledger.runs.get(run)
    return None if outcome is None else outcome.values.get(metric)


def _number(value: Value | None) -> float:
    return value if isinstance(value, int | float) else math.nan


def _rms(vectors: Floats) -> Floats:
    return np.asarray(np.sqrt(np.mean(vectors**2, axis=1)), np.float64)
