"""Two experiments side by side: what differs in their specs, and in their results seed by seed.

Runs of the same seed start from the same normals and see the same batches, so the difference is taken within
each seed, and its interval is over seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from iplab.errors import InvalidRequestError, Violation
from iplab.plain import to_plain
from iplab.settings import AXES
from iplab.summary import Spread, averaged, spread

if TYPE_CHECKING:
    from ipcore.figures import Courses, Mean
    from iplab.experiment import Experiment
    from iplab.run import Run

METRICS: Final = tuple(averaged().values())
_AXES: Final = tuple(name for name in AXES if name != "seed")
_ABSENT: Final = "-"


@dataclass(frozen=True, slots=True)
class Pair:
    """Runs of both experiments at one point of the grid.

    Attributes:
        settings: Values of the axes by which runs are matched.
        left: Mean and deviation of the first experiment, over the seeds that both have.
        right: Of the second.
        difference: Second less first, within each seed: mean and 95 % interval over seeds.
    """

    settings: tuple[object, ...]
    left: Spread
    right: Spread
    difference: Mean


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two experiments side by side.

    Attributes:
        metric: The value of runs' summaries that is compared; "" if neither has any.
        axes: Axes by which runs are matched.
        apart: Axes in which the experiments differ as a whole: they share no value.
        pairs: A row per point of the grid that both have, in the first one's order.
        alone: Number of runs of each without a partner, or without a result in both.
        specs: Fields of the specs that differ: path, first's value, second's value.
    """

    metric: str
    axes: tuple[str, ...]
    apart: tuple[str, ...]
    pairs: tuple[Pair, ...]
    alone: tuple[int, int]
    specs: tuple[tuple[str, object, object], ...]


def compare(left: Experiment, right: Experiment, metric: str = "") -> Comparison:
    """Compare the results of two experiments.

    Args:
        left: The first.
        right: The second.
        metric: One of `METRICS`; "": the final test accuracy if both have it, else the final test loss.

    Raises:
        InvalidRequestError: No such metric.
    """
    if metric and metric not in METRICS:
        raise InvalidRequestError(
            [Violation("metric", f"{metric!r} is none; there are: {', '.join(METRICS)}")]
        )
    sides = list(left.runs()), list(right.runs())
    axes, apart = _axes(*sides)
    chosen = metric or _metric(sides)
    first, second = (_values(runs, axes, chosen) for runs in sides)
    pairs = []
    matched = 0
    for key, by_seed in first.items():
        common = [seed for seed in by_seed if seed in second.get(key, {})]
        if common:
            matched += len(common)
            pairs.append(_pair(key, [by_seed[s] for s in common], [second[key][s] for s in common]))
    return Comparison(
        chosen,
        axes,
        apart,
        tuple(pairs),
        (len(sides[0]) - matched, len(sides[1]) - matched),
        tuple(_differences(to_plain(left.spec), to_plain(right.spec))),
    )


def both_curves(left: Experiment, right: Experiment, name: str) -> Courses:
    """Learning curves of both, a line for each parameterization of each.

    Args:
        left: The first.
        right: The second.
        name: A metric that both recorded: "test_loss".

    Raises:
        InvalidRequestError: One of them does not record it.
        PictureError: There are no points of it.
    """
    import numpy as np  # noqa: PLC0415 - numpy only where arrays are wanted

    from iplab.metrics import Metrics  # noqa: PLC0415 - as above
    from iplab.plotting.curves import learning_curves  # noqa: PLC0415 - only where it is drawn

    found = [experiment.metrics(names=[name]) for experiment in (left, right)]
    behind = 1 + max(found[0].settings, default=-1)
    settings = {
        run + (behind if experiment is right else 0): replace(
            one, parameterization=f"{experiment.id}: {one.parameterization}"
        )
        for experiment, metrics in zip((left, right), found, strict=True)
        for run, one in metrics.settings.items()
    }
    together = Metrics(
        (name,),
        np.concatenate([found[0].run, found[1].run + np.int32(behind)]),
        np.concatenate([metrics.metric for metrics in found]),
        np.concatenate([metrics.step for metrics in found]),
        np.concatenate([metrics.time for metrics in found]),
        np.concatenate([metrics.value for metrics in found]),
        settings,
    )
    return learning_curves(together, name, ["parameterization"])


def _axes(left: Sequence[Run], right: Sequence[Run]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The axes by which runs are matched, and those in which each side has one value, another one."""
    apart = []
    for name in _AXES:
        mine, theirs = ({getattr(run, name) for run in runs} for runs in (left, right))
        if len(mine) == len(theirs) == 1 and mine != theirs:
            apart.append(name)
    return tuple(name for name in _AXES if name not in apart), tuple(apart)


def _metric(sides: tuple[list[Run], list[Run]]) -> str:
    for name in ("final_test_accuracy", "final_test_loss"):
        if all(any(getattr(run, name) is not None for run in runs) for runs in sides):
            return name
    return ""


def _values(
    runs: Iterable[Run], axes: Sequence[str], metric: str
) -> dict[tuple[object, ...], dict[int, float]]:
    """Values by point of the grid and seed."""
    found: dict[tuple[object, ...], dict[int, float]] = {}
    for run in runs:
        value = getattr(run, metric) if metric else None
        if value is not None:
            found.setdefault(tuple(getattr(run, name) for name in axes), {})[run.seed] = value
    return found


def _pair(settings: tuple[object, ...], left: Sequence[float], right: Sequence[float]) -> Pair:
    from ipcore.figures import mean  # noqa: PLC0415 - numpy only where it is needed

    differences = [b - a for a, b in zip(left, right, strict=True)]
    return Pair(settings, spread(left), spread(right), mean(differences))


def _differences(left: object, right: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    """Leaves in which two specs differ; lists are compared as a whole unless they have equal length."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in dict.fromkeys([*left, *right]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(left.get(key, _ABSENT), right.get(key, _ABSENT), inner)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right) and _nested(left):
        for position, (mine, theirs) in enumerate(zip(left, right, strict=True)):
            yield from _differences(mine, theirs, f"{path}[{position}]")
    elif left != right:
        yield path, left, right


def _nested(values: Sequence[object]) -> bool:
    return any(isinstance(value, Mapping) for value in values)
