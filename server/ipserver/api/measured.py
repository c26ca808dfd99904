"""What an experiment has measured that theory speaks of, read from the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from iplab.v1 import spec_pb2
from ipserver.store.records import RunRecord
from ipserver.store.segments import decode
from ipserver.store.states import RunState

if TYPE_CHECKING:
    from ipserver.store import Store

MAX_POINTS: Final = 1_000_000
_PAGE: Final = 5_000
_CHECKED: Final = ("h", "h_change")
# What says which prediction holds at the widths measured: parts of the changes, and gradients beside epsilon.
_CONTEXT: Final = ("change_below", "change_own", "gradient")
_QUANTITIES: Final = (*_CHECKED, *_CONTEXT)
# Parts are compared with step 0, and gradients of these steps are those of the first updates.
_CONTEXT_STEPS: Final = range(4)
_ENDED: Final = frozenset({RunState.SUCCEEDED, RunState.DIVERGED, RunState.FAILED, RunState.CANCELLED})

Group = tuple[str, int, str, float]
"""Label, hidden layers, activation, base learning rate: what runs over widths and seeds share."""
Sizes = dict[tuple[str, int, int], dict[tuple[int, int], float]]
"""By (quantity, layer, step), then by (width, seed)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was read.

    Attributes:
        runs: By group, in the grid's order.
        sizes: Coordinates by group, with the parts of their changes and gradients; of the first steps even
            where they were not wanted.
        steps: At which coordinates were wanted.
        unfinished: Runs that have not ended.
        truncated: Whether there were more points than `MAX_POINTS`.
    """

    runs: Mapping[Group, tuple[RunRecord, ...]]
    sizes: Mapping[Group, Sizes]
    steps: tuple[int, ...]
    unfinished: int
    truncated: bool


def recorded_steps(spec: spec_pb2.ExperimentSpec) -> tuple[int, ...]:
    """Steps at which coordinates are recorded; () without the probe."""
    probes = spec.record.probes
    if "coordinates" not in probes.quantities:
        return ()
    multiples = range(0, spec.steps + 1, probes.interval) if probes.interval else ()
    return tuple(sorted({*probes.steps, *multiples}))


def read(store: Store, experiment: str, steps: Collection[int], recorded: Collection[int] = ()) -> Measured:
    """All runs, and their coordinates at some steps.

    Args:
        store: Where they are.
        experiment: Its id.
        steps: At which coordinates are wanted.
        recorded: At which there are any.

    Raises:
        NotFound: No such experiment.
    """
    groups: dict[Group, list[RunRecord]] = {}
    by_index: dict[int, RunRecord] = {}
    unfinished = 0
    for run in _runs(store, experiment):
        groups.setdefault(group_of(run), []).append(run)
        by_index[run.index] = run
        unfinished += run.state not in _ENDED
    sizes: dict[Group, Sizes] = {}
    points = 0
    context = {*recorded} & {*_CONTEXT_STEPS}
    for index, name, step, value in _coordinates(store, experiment, {*steps, *context} if steps else ()):
        points += 1
        if points > MAX_POINTS:
            break
        run = by_index[index]
        quantity, _, layer = name.partition("/")
        of_group = sizes.setdefault(group_of(run), {})
        of_group.setdefault((quantity, int(layer), step), {})[run.width, run.seed] = value
    return Measured(
        {group: tuple(runs) for group, runs in groups.items()},
        sizes,
        tuple(sorted(steps)),
        unfinished,
        points > MAX_POINTS,
    )


def group_of(run: RunRecord) -> Group:
    """The group of a run."""
    return run.parameterization, run.hidden_layers, run.activation, run.base_learning_rate


def _runs(store: Store, experiment: str) -> Iterator[RunRecord]:
    after = -1
    while True:
        page = store.list_runs(experiment, limit=_PAGE, after=after)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].index


def _coordinates(
    store: Store, experiment: str, steps: Collection[int]
) -> Iterator[tuple[int, str, int, float]]:
    """(run, metric, step, value); only the segments that may hold a wanted step are read."""
    for first, last in _ranges(steps):
        for segment in store.segments(experiment, packs=None, first_step=first, last_step=last):
            points = decode(segment.data)
            named = [i for i, name in enumerate(points.metrics) if name.partition("/")[0] in _QUANTITIES]
            inside = (points.step >= first) & (points.step <= last)
            chosen = points.select(inside & np.isin(points.metric, named) & np.isin(points.step, list(steps)))
            rows = zip(
                chosen.run.tolist(),
                chosen.metric.tolist(),
                chosen.step.tolist(),
                chosen.value.tolist(),
                strict=True,
            )
            for run, metric, step, value in rows:
                name = points.metrics[metric]
                # Train and test metrics have no layer.
                if "/" in name:
                    yield run, name, step, value


def _ranges(steps: Collection[int]) -> list[tuple[int, int]]:
    """Steps as ranges without gaps.

    >>> _ranges([3, 1, 2, 9])
    [(1, 3), (9, 9)]
    """
    ascending = sorted(set(steps))
    if not ascending:
        return []
    starts = [ascending[0], *(b for a, b in pairwise(ascending) if b != a + 1)]
    ends = [*(a for a, b in pairwise(ascending) if b != a + 1), ascending[-1]]
    return list(zip(starts, ends, strict=True))
