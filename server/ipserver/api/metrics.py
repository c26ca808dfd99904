"""Metric queries: committed segments, filtered and joined into blocks of columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ipcore.catalogue import METRICS
from iplab.v1 import run_service_pb2 as pb
from ipserver import names
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.filters import RUN_FIELDS, parse_filter
from ipserver.segments import Points, decode
from ipserver.store.records import Comparison

if TYPE_CHECKING:
    from ipserver.store import Store

MAX_POINTS = 65_536
# Up to this many runs the packs that hold them are looked up, so that other packs need not be read.
_FEW_RUNS = 1000


@dataclass(frozen=True, slots=True)
class Query:
    """Which points are wanted.

    Attributes:
        experiment: Id.
        where: Which runs.
        metrics: Names; empty: all.
        first_step: Smallest step.
        last_step: Largest step; None: to the end.
    """

    experiment: str
    where: tuple[Comparison, ...]
    metrics: tuple[str, ...]
    first_step: int
    last_step: int | None


def parse(request: pb.QueryMetricsRequest) -> Query:
    """Read a request.

    Raises:
        InvalidRequest: Wrong fields.
    """
    experiment = names.parse_experiment(request.parent, "parent")
    where = tuple(parse_filter(request.filter, RUN_FIELDS))
    wrong = []
    for i, name in enumerate(request.metrics):
        if name not in METRICS:
            close = difflib.get_close_matches(name, METRICS, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            wrong.append(
                FieldViolation(
                    f"metrics[{i}]", f"unknown metric {name!r}; {hint}There are: {', '.join(METRICS)}"
                )
            )
    if request.first_step < 0:
        wrong.append(FieldViolation("first_step", f"must be at least 0, not {request.first_step}"))
    if request.last_step < 0 or (request.last_step and request.last_step < request.first_step):
        wrong.append(
            FieldViolation(
                "last_step", f"must be 0 (to the end) or at least first_step, not {request.last_step}"
            )
        )
    if wrong:
        raise InvalidRequest(wrong)
    return Query(experiment, where, tuple(request.metrics), request.first_step, request.last_step or None)


def blocks(store: Store, query: Query) -> Iterator[pb.QueryMetricsResponse]:
    """The points in blocks of at most `MAX_POINTS`; within a run and metric, steps ascend."""
    runs, packs = _runs_and_packs(store, query)
    if packs is not None and not packs:
        return
    waiting: list[Points] = []
    count = 0
    segments = store.segments(
        query.experiment, packs=packs, first_step=query.first_step, last_step=query.last_step
    )
    for segment in segments:
        points = _selected(_in_catalogue(decode(segment.data)), query, runs)
        if not len(points):
            continue
        waiting.append(points)
        count += len(points)
        if count >= MAX_POINTS:
            joined = _joined(waiting)
            whole = count - count % MAX_POINTS
            for start in range(0, whole, MAX_POINTS):
                yield _message(joined.select(slice(start, start + MAX_POINTS)))
            waiting = [joined.select(slice(whole, count))]
            count -= whole
    if count:
        yield _message(_joined(waiting))


def _runs_and_packs(store: Store, query: Query) -> tuple[frozenset[int] | None, frozenset[str] | None]:
    """Indices of the wanted runs and the packs that hold them; None: all."""
    if not query.where:
        return None, None
    records = store.list_runs(query.experiment, query.where, limit=_FEW_RUNS + 1)
    if len(records) <= _FEW_RUNS:
        indices = frozenset(record.index for record in records)
        return indices, frozenset(record.pack for record in records if record.pack)
    return store.run_indices(query.experiment, query.where), None


def _in_catalogue(points: Points) -> Points:
    """Points whose metric indices refer to the catalogue's names, so that segments can be joined."""
    if not len(points):
        return points
    place = np.array([METRICS.index(name) for name in points.metrics], np.int32)
    return replace(points, metrics=METRICS, metric=place[points.metric])


def _selected(points: Points, query: Query, runs: frozenset[int] | None) -> Points:
    wanted = points.step >= query.first_step
    if query.last_step is not None:
        wanted &= points.step <= query.last_step
    if query.metrics:
        wanted &= np.isin(points.metric, [METRICS.index(name) for name in query.metrics])
    if runs is not None:
        wanted &= np.isin(points.run, np.fromiter(runs, np.int32, len(runs)))
    return points if wanted.all() else points.select(wanted)


def _joined(parts: Sequence[Points]) -> Points:
    if len(parts) == 1:
        return parts[0]
    return Points(
        METRICS,
        np.concatenate([part.run for part in parts]),
        np.concatenate([part.metric for part in parts]),
        np.concatenate([part.step for part in parts]),
        np.concatenate([part.time_ms for part in parts]),
        np.concatenate([part.value for part in parts]),
    )


def _message(points: Points) -> pb.QueryMetricsResponse:
    return pb.QueryMetricsResponse(
        metrics=points.metrics,
        run_indices=points.run.tolist(),
        metric_indices=points.metric.tolist(),
        steps=points.step.tolist(),
        times_ms=points.time_ms.tolist(),
        values=points.value.tolist(),
    )
