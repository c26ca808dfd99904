"""Reads an experiment's measurements of quantities that theory predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from ipcore.analysis.case import Measured, Run
from ipcore.analysis.coordinate_check import Key
from ipcore.analysis.kinds import wanted
from ipcore.analysis.output_distance import Outputs, stand_in
from ipcore.analysis.report import Subject
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.probes.outputs import OUTPUTS as SKETCH
from ipcore.probes.paired import PAIRED_OUTPUTS
from ipcore.probes.paired import SKETCH as PAIRED_SKETCH
from ipcore.training.recording import LIMIT_ERROR
from iplab.v1 import spec_pb2
from ipserver.store.records.runs import RunRecord
from ipserver.store.segments import decode
from ipserver.store.states import RunState

if TYPE_CHECKING:
    from ipserver.store import Store

MAX_POINTS: Final = 1_000_000
OUTPUTS: Final = "outputs"
# Maximum number of steps at which outputs are compared; each run has over a hundred numbers per step.
MAX_OUTPUT_STEPS: Final = 6
_PAGE: Final = 5_000
# Always read: parts of preactivations are compared with step 0, and the first updates have these steps'
# gradients.
_CONTEXT_STEPS: Final = range(4)
_ENDED: Final = frozenset({RunState.SUCCEEDED, RunState.DIVERGED, RunState.FAILED, RunState.CANCELLED})


def recorded_steps(spec: spec_pb2.ExperimentSpec, asked: Collection[str] = ()) -> tuple[int, ...]:
    """Steps at which a checked quantity is recorded; () without a probe of one.

    Args:
        spec: Valid, with its defaults filled in.
        asked: Kinds of check that are made only on request.
    """
    if {kind.probe for kind in wanted(asked)}.isdisjoint(spec.record.probes.quantities):
        return ()
    return _probed_steps(spec)


def output_steps(spec: spec_pb2.ExperimentSpec) -> tuple[int, ...]:
    """Steps at which outputs are compared with those of infinite width or its replacement.

    The last recorded step and a few others.

    Args:
        spec: Valid, with its defaults filled in.
    """
    asked = spec.record.probes.quantities
    beside = spec.grid.infinite_width or stand_in(spec.grid.widths) is not None
    if PAIRED_OUTPUTS not in asked and not (OUTPUTS in asked and beside):
        return ()
    steps = [step for step in _probed_steps(spec) if step]
    every = max(1, math.ceil(len(steps) / MAX_OUTPUT_STEPS))
    return tuple(steps[::-1][::every][::-1])


def _probed_steps(spec: spec_pb2.ExperimentSpec) -> tuple[int, ...]:
    probes = spec.record.probes
    multiples = range(0, spec.steps + 1, probes.interval) if probes.interval else ()
    return tuple(sorted({*probes.steps, *multiples}))


def read(
    store: Store,
    experiment: str,
    subject_of: Callable[[RunRecord], Subject],
    steps: Collection[int],
    recorded: Collection[int] = (),
    asked: Collection[str] = (),
    sketched: Collection[int] = (),
) -> Measured:
    """All runs of an experiment, and their measurements at some steps.

    Args:
        store: The store.
        experiment: The experiment's id.
        subject_of: Returns the subject of a run; runs of one subject are analysed together.
        steps: Steps at which coordinates are requested.
        recorded: Steps at which coordinates are recorded.
        asked: Kinds of check that are made only on request.
        sketched: Steps at which outputs are requested (`output_steps`).

    Raises:
        NotFound: There is no such experiment.
    """
    runs: dict[Subject, list[Run]] = {}
    limits: dict[Subject, list[Run]] = {}
    sizes: dict[Subject, dict[Key, dict[tuple[int, int], float]]] = {}
    records: dict[int, tuple[Subject, RunRecord]] = {}
    unfinished = 0
    for record in _runs(store, experiment):
        subject = subject_of(record)
        # Slopes over widths end at the largest finite one.
        group = limits if record.width == INFINITE_WIDTH else runs
        group.setdefault(subject, []).append(_run(record))
        records[record.index] = subject, record
        unfinished += record.state not in _ENDED
    points = 0
    context = {*recorded} & {*_CONTEXT_STEPS}
    at = {*steps, *context} if steps else set()
    quantities = {quantity for kind in wanted(asked) for quantity in kind.reads}
    for index, name, step, value in _layer_metrics(store, experiment, at, quantities):
        points += 1
        if points > MAX_POINTS:
            break
        subject, record = records[index]
        quantity, _, layer = name.partition("/")
        of_subject = sizes.setdefault(subject, {})
        of_subject.setdefault((quantity, int(layer), step), {})[record.width, record.seed] = value
    outputs: dict[Subject, dict[int, dict[tuple[int, int], Outputs]]] = {}
    for index, step, one in output_sketches(store, experiment, sketched):
        subject, record = records[index]
        outputs.setdefault(subject, {}).setdefault(step, {})[record.width, record.seed] = one
    return Measured(
        {subject: tuple(group) for subject, group in runs.items()},
        sizes,
        tuple(sorted(steps)),
        unfinished,
        points > MAX_POINTS,
        {subject: tuple(group) for subject, group in limits.items()},
        outputs,
    )


def _run(record: RunRecord) -> Run:
    return Run(
        width=record.width,
        seed=record.seed,
        base_learning_rate=record.base_learning_rate,
        diverged=record.state is RunState.DIVERGED,
        final_test_loss=record.summary.final_test_loss,
        calibrated_rates=record.calibrated_rates,
        limit_error=record.summary.final_limit_error,
    )


def _runs(store: Store, experiment: str) -> Iterator[RunRecord]:
    after = -1
    while True:
        page = store.list_runs(experiment, limit=_PAGE, after=after)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].index


def _layer_metrics(
    store: Store, experiment: str, steps: Collection[int], quantities: Collection[str]
) -> Iterator[tuple[int, str, int, float]]:
    """(run, metric, step, value) of the steps. Reads only segments that may hold them."""
    for first, last in _ranges(steps):
        for segment in store.segments(experiment, packs=None, first_step=first, last_step=last):
            points = decode(segment.data)
            named = [i for i, name in enumerate(points.metrics) if name.partition("/")[0] in quantities]
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


def output_sketches(
    store: Store, experiment: str, steps: Collection[int]
) -> Iterator[tuple[int, int, Outputs]]:
    """(run, step, outputs) of every run that has recorded outputs at these steps.

    If a run has recorded outputs paired with those of a kernel machine, yields these.
    """
    columns = {name: place for place, name in enumerate((*SKETCH.metrics, LIMIT_ERROR, *PAIRED_SKETCH))}
    plain = len(SKETCH.metrics)
    for first, last in _ranges(steps):
        for segment in store.segments(experiment, packs=None, first_step=first, last_step=last):
            points = decode(segment.data)
            column = np.array([columns.get(name, -1) for name in points.metrics], np.int64)[points.metric]
            chosen = (column >= 0) & (points.step >= first) & (points.step <= last)
            where, row = np.unique(
                np.stack([points.run[chosen], points.step[chosen]]), axis=1, return_inverse=True
            )
            values = np.full((where.shape[1], len(columns)), np.nan)
            values[row.reshape(-1), column[chosen]] = points.value[chosen]
            for (run, step), found in zip(where.T.tolist(), values, strict=True):
                if np.isfinite(paired := found[plain + 1 :]).all():
                    yield run, step, Outputs.paired(paired)
                elif np.isfinite(found[:plain]).all():
                    yield run, step, Outputs.of(found[:plain], float(found[plain]))


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
