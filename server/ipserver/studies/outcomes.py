"""Measurements of a study's runs, read from the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from ipcore import studies
from ipcore.probes.outputs import OUTPUTS
from ipcore.probes.paired import SKETCH as PAIRED
from ipserver.names import lineage
from ipserver.request.measured import probe_of, recorded_step
from ipserver.store import Store
from ipserver.store.records.runs import RunRecord
from ipserver.store.segments import decode
from ipserver.store.states import RunState
from ipserver.studies.rounds import Block

_PAGE: Final = 5_000
_TEST_LOSS: Final = "test_loss"
# Vector quantities, with the metric of each entry.
_SKETCHES: Final = {studies.SKETCH: OUTPUTS.metrics, studies.PAIRED: PAIRED}


def outcomes(
    store: Store,
    block: Block,
    metrics: Sequence[studies.Metric],
    cpus: float,
    vector: Callable[[RunRecord, int], tuple[float, ...] | None],
) -> dict[studies.Run, studies.Outcome]:
    """Outcomes of an experiment's ended runs.

    Args:
        store: The store.
        block: The experiment.
        metrics: Metrics that the study needs.
        cpus: Cores of each pack.
        vector: Returns the outputs of a run at a step, or None.
    """
    runs = _runs(store, block.experiment)
    points = _points(store, block.experiment, metrics)
    seconds = store.pack_seconds(block.experiment)
    return {
        studies.Run(block.subject, run.width, run.base_learning_rate, run.seed): studies.Outcome(
            values=_values(run, metrics, points[run.index], vector),
            diverged=run.state is RunState.DIVERGED,
            core_seconds=cpus * _seconds(run, seconds),
            failed=_failure(run),
        )
        for run in runs
        if run.state.terminal
    }


def _runs(store: Store, experiment: str) -> list[RunRecord]:
    found: list[RunRecord] = []
    while page := store.list_runs(experiment, limit=_PAGE, after=found[-1].index if found else -1):
        found += page
    return found


def _values(
    run: RunRecord,
    metrics: Sequence[studies.Metric],
    points: Mapping[tuple[str, int], float],
    vector: Callable[[RunRecord, int], tuple[float, ...] | None],
) -> dict[studies.Metric, studies.Value]:
    found: dict[studies.Metric, studies.Value] = {}
    for metric in metrics:
        value: studies.Value | None
        if metric == studies.FINAL_LOSS:
            value = run.summary.final_test_loss
        elif metric == studies.FINAL_ACCURACY:
            value = run.summary.final_test_accuracy
        elif metric == studies.FIRST_LOSS:
            value = points.get((_TEST_LOSS, 0))
        elif metric.quantity == studies.CALIBRATED:
            rates = run.calibrated_rates
            value = rates[metric.layer - 1] if metric.layer <= len(rates) else None
        elif metric == studies.FINAL_LIMIT_ERROR:
            value = run.summary.final_limit_error
        elif metric.quantity == studies.OUTPUTS:
            value = vector(run, metric.step)
        elif metric.quantity in _SKETCHES:
            sums = [points.get(place) for place in _places(metric)]
            value = tuple(one for one in sums if one is not None) if None not in sums else None
        else:
            value = points.get(_place(metric))
        if value is not None:
            found[metric] = value
    return found


def _points(
    store: Store, experiment: str, metrics: Sequence[studies.Metric]
) -> Mapping[int, Mapping[tuple[str, int], float]]:
    """Recorded points of the metrics by run, name and step."""
    wanted = {place for metric in metrics if probe_of(metric) for place in _places(metric)}
    if studies.FIRST_LOSS in metrics:
        wanted.add((_TEST_LOSS, 0))
    found: dict[int, dict[tuple[str, int], float]] = defaultdict(dict)
    names, steps = {name for name, _ in wanted}, sorted({step for _, step in wanted})
    if not steps:
        return found
    for segment in store.segments(experiment, packs=None, first_step=steps[0], last_step=steps[-1]):
        block = decode(segment.data)
        chosen = [i for i, name in enumerate(block.metrics) if name in names]
        these = block.select(np.isin(block.metric, chosen) & np.isin(block.step, steps))
        rows = zip(these.run, these.metric, these.step, these.value, strict=True)
        for run, metric, step, value in rows:
            found[int(run)][block.metrics[metric], int(step)] = float(value)
    return found


def _places(metric: studies.Metric) -> list[tuple[str, int]]:
    """Names and step under which a probe records a metric, a vector under several."""
    if metric.quantity in _SKETCHES:
        return [(name, metric.step) for name in _SKETCHES[metric.quantity]]
    return [_place(metric)]


def _place(metric: studies.Metric) -> tuple[str, int]:
    """Name and step under which a probe records a metric."""
    return f"{metric.quantity}/{metric.layer}", recorded_step(metric)


def _seconds(run: RunRecord, seconds: Mapping[str, tuple[float, int]]) -> float:
    """The run's share, in seconds, of the time of its pack and the pack's ancestors."""
    shares = (seconds.get(pack, (0.0, 1)) for pack in lineage(run.pack))
    return sum(spent / max(runs, 1) for spent, runs in shares)


def _failure(run: RunRecord) -> str:
    if run.state is RunState.CANCELLED:
        return "it was cancelled"
    return run.failure.message if run.state is RunState.FAILED and run.failure else ""
