"""Compares two experiments: their specs, and their results seed by seed.

Runs of one seed start from the same random numbers and see the same batches. So differences are taken within
each seed, and their intervals are over seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from iplab.errors import InvalidRequestError, Violation
from iplab.results.numbers import SETTING_DIGITS, number
from iplab.results.settings import AXES
from iplab.results.summary import Spread, averaged, spread
from iplab.specs.plain import to_plain

if TYPE_CHECKING:
    from ipcore.figures import Courses, Mean
    from iplab.results.experiment import Experiment
    from iplab.results.run import Run

METRICS: Final = tuple(averaged().values())
_AXES: Final = tuple(name for name in AXES if name != "seed")
_ABSENT: Final = "-"
MOST_PAIRS: Final = 300
_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Runs of both experiments that are compared with each other.

    Attributes:
        settings: Values of the axes of the grid; "a / b" where the experiments share no value.
        left: Mean and deviation of the first experiment, over the seeds that both have.
        right: The same of the second.
        difference: Second minus first, within each seed: mean and 95 % interval over seeds.
    """

    settings: tuple[object, ...]
    left: Spread
    right: Spread
    difference: Mean


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of two experiments.

    Attributes:
        metric: The compared value of runs' summaries; "" if they have none in common.
        axes: Axes of the grid except seeds.
        apart: Those in which they share no value: there each value of the first stands against each of the
            second.
        pairs: At most `MOST_PAIRS` pairs, in the first experiment's order.
        left_out: Number of further pairs.
        overall: Difference of the means over all pairs, with its interval over the seeds that all of them
            have; None if they have none in common.
        alone: Number of runs of each without a partner of the same seed, or without a result in both.
        specs: Fields of the specs that differ: path, first's value, second's value.
    """

    metric: str
    axes: tuple[str, ...]
    apart: tuple[str, ...]
    pairs: tuple[Pair, ...]
    left_out: int
    overall: Mean | None
    alone: tuple[int, int]
    specs: tuple[tuple[str, object, object], ...]


def compare(left: Experiment, right: Experiment, metric: str = "") -> Comparison:
    """Compare the results of two experiments.

    Args:
        left: The first experiment.
        right: The second experiment.
        metric: One of `METRICS`; "" for the final test accuracy if both have it, or else the final test loss.

    Raises:
        InvalidRequestError: There is no such metric.
    """
    if metric and metric not in METRICS:
        raise InvalidRequestError(
            [Violation("metric", f"unknown metric {metric!r}; there are: {', '.join(METRICS)}")]
        )
    sides = list(left.runs()), list(right.runs())
    chosen = metric or _metric(sides)
    first, second = (_values(runs, chosen) for runs in sides)
    apart = tuple(
        name
        for place, name in enumerate(_AXES)
        if first and second and not {key[place] for key in first} & {key[place] for key in second}
    )
    matched = [[(key, other) for other in second if _meet(key, other, apart)] for key in first]
    differences: list[dict[int, float]] = []
    pairs, used = [], (set[tuple[_Key, int]](), set[tuple[_Key, int]]())
    for mine, theirs in (pair for of_key in matched for pair in of_key):
        common = [seed for seed in first[mine] if seed in second[theirs]]
        if common:
            used[0].update((mine, seed) for seed in common)
            used[1].update((theirs, seed) for seed in common)
            shown = tuple(_both(a, b) for a, b in zip(mine, theirs, strict=True))
            values = [first[mine][s] for s in common], [second[theirs][s] for s in common]
            pairs.append((shown, *values))
            differences.append({seed: second[theirs][seed] - first[mine][seed] for seed in common})
    return Comparison(
        chosen,
        _AXES,
        apart,
        tuple(_pair(*pair) for pair in pairs[:MOST_PAIRS]),
        max(0, len(pairs) - MOST_PAIRS),
        _overall(differences),
        (len(sides[0]) - len(used[0]), len(sides[1]) - len(used[1])),
        tuple(_differences(_given(to_plain(left.spec)), _given(to_plain(right.spec)))),
    )


def both_curves(left: Experiment, right: Experiment, name: str) -> Courses:
    """Learning curves of both experiments, with a line for each of their parameterizations.

    Args:
        left: The first experiment.
        right: The second experiment.
        name: A metric that both recorded: "test_loss".

    Raises:
        InvalidRequestError: One of them does not record the metric.
        PictureError: The metric has no points.
    """
    import numpy as np  # noqa: PLC0415 - numpy only where arrays are wanted

    from iplab.plotting.curves import learning_curves  # noqa: PLC0415 - only where it is drawn
    from iplab.results.metrics import Metrics  # noqa: PLC0415 - as above

    found = [experiment.metrics(names=[name]) for experiment in (left, right)]
    behind = 1 + max(found[0].settings, default=-1)
    settings = {
        run + (behind if experiment is right else 0): replace(
            one, parameterization=f"{experiment.id}: {one.parameterization}"
        )
        for experiment, metrics in zip((left, right), found, strict=True)
        for run, one in metrics.settings.items()
    }
    diverged = dict(found[0].diverged) | {run + behind: step for run, step in found[1].diverged.items()}
    together = Metrics(
        (name,),
        np.concatenate([found[0].run, found[1].run + np.int32(behind)]),
        np.concatenate([metrics.metric for metrics in found]),
        np.concatenate([metrics.step for metrics in found]),
        np.concatenate([metrics.time for metrics in found]),
        np.concatenate([metrics.value for metrics in found]),
        settings,
        diverged,
    )
    return learning_curves(together, name, ["parameterization"])


def _meet(mine: _Key, theirs: _Key, apart: Sequence[str]) -> bool:
    """Whether two points of the grids are equal on all axes except those in `apart`."""
    return all(a == b or name in apart for name, a, b in zip(_AXES, mine, theirs, strict=True))


def _both(mine: object, theirs: object) -> object:
    """A setting that both have, else "a / b"."""
    if mine == theirs:
        return mine
    texts = (number(s, SETTING_DIGITS) if isinstance(s, float) else str(s) for s in (mine, theirs))
    return " / ".join(texts)


def _metric(sides: tuple[list[Run], list[Run]]) -> str:
    for name in ("final_test_accuracy", "final_test_loss"):
        if all(any(getattr(run, name) is not None for run in runs) for runs in sides):
            return name
    return ""


def _values(runs: Iterable[Run], metric: str) -> dict[_Key, dict[int, float]]:
    """Values by point of the grid and seed."""
    found: dict[_Key, dict[int, float]] = {}
    for run in runs:
        value = getattr(run, metric) if metric else None
        if value is not None:
            found.setdefault(tuple(getattr(run, name) for name in _AXES), {})[run.seed] = value
    return found


def _pair(settings: tuple[object, ...], left: Sequence[float], right: Sequence[float]) -> Pair:
    from ipcore.figures import mean  # noqa: PLC0415 - numpy only where it is needed

    differences = [b - a for a, b in zip(left, right, strict=True)]
    return Pair(settings, spread(left), spread(right), mean(differences))


def _overall(differences: Sequence[Mapping[int, float]]) -> Mean | None:
    """Mean over seeds of the mean over pairs, from each pair's differences by seed."""
    from ipcore.figures import mean  # noqa: PLC0415 - as above

    shared = (
        [seed for seed in differences[0] if all(seed in one for one in differences)] if differences else []
    )
    if not shared:
        return None
    return mean([sum(one[seed] for one in differences) / len(differences) for seed in shared])


def _differences(left: object, right: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    """Leaves in which two specs differ. Lists of different length are compared as a whole."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in dict.fromkeys([*left, *right]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(left.get(key, _ABSENT), right.get(key, _ABSENT), inner)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right) and _nested(left):
        for position, (mine, theirs) in enumerate(zip(left, right, strict=True)):
            yield from _differences(mine, theirs, f"{path}[{position}]")
    elif left != right:
        yield path, left, right


def _given(value: object) -> object:
    """A plain message without unset or empty fields."""
    if isinstance(value, Mapping):
        given = {name: _given(inner) for name, inner in value.items()}
        return {name: inner for name, inner in given.items() if inner not in (None, [], {})}
    return [_given(inner) for inner in value] if isinstance(value, list) else value


def _nested(values: Sequence[object]) -> bool:
    return any(isinstance(value, Mapping) for value in values)
