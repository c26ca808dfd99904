"""Metric queries: filters committed segments and joins them into blocks of columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.errors import nearest
from ipcore.probes.outputs import is_sketch
from ipcore.training.recording import metric_names
from iplab.v1 import run_service_pb2 as pb
from iplab.v1.spec_pb2 import ExperimentSpec
from ipserver import names
from ipserver.api.filters import RUN_FIELDS, parse_filter
from ipserver.errors import FieldViolation, InvalidRequest
from ipserver.request.convert import pack_config
from ipserver.request.stored import stored_spec
from ipserver.store.records.filters import ALL, Filter
from ipserver.store.records.networks import NetworkShape
from ipserver.store.segments import Points, decode

if TYPE_CHECKING:
    from ipserver.store import Store

MAX_POINTS = 65_536
# Up to this many runs, their packs are looked up first, so that other packs' segments are not read.
_FEW_RUNS = 1000
# Similar names are suggested for this many unknown names only.
_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query.

    Attributes:
        experiment: Id.
        where: Condition on runs.
        metrics: Names, or "quantity/*" for all layers of a probe's quantity; empty means all except the
            sketches of outputs.
        first_step: Smallest step.
        last_step: Largest step; 0 means to the end.
    """

    experiment: str
    where: Filter
    metrics: tuple[str, ...]
    first_step: int
    last_step: int


def parse(request: pb.QueryMetricsRequest) -> Query:
    """Parse a request. Metric names and steps are checked by `blocks`, which knows the experiment.

    Raises:
        InvalidRequest: The experiment's name or the filter is malformed.
    """
    experiment = names.parse_experiment(request.parent, "parent")
    where = parse_filter(request.filter, RUN_FIELDS)
    return Query(experiment, where, tuple(request.metrics), request.first_step, request.last_step)


def blocks(store: Store, query: Query) -> Iterator[pb.QueryMetricsResponse]:
    """The points in blocks of at most `MAX_POINTS`, with ascending steps within a run and metric.

    Raises:
        NotFound: There is no such experiment.
        InvalidRequest: The experiment does not record a metric, or the steps are invalid.
    """
    spec = stored_spec(store.get_experiment(query.experiment).spec)
    wanted = _checked(query, recorded(spec))
    runs, packs = _runs_and_packs(store, query)
    if packs is not None and not packs:
        return
    waiting: list[Points] = []
    count = 0
    table: dict[str, int] = {}
    segments = store.segments(
        query.experiment, packs=packs, first_step=query.first_step, last_step=query.last_step or None
    )
    for segment in segments:
        points = _renumbered(_selected(decode(segment.data), query, wanted, runs), table)
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


def recorded(spec: ExperimentSpec) -> tuple[str, ...]:
    """Metrics that an experiment may record, in order: those of its deepest networks include all others.

    Args:
        spec: With its defaults filled in.
    """
    deepest = NetworkShape.of_depth(max(spec.grid.hidden_layers))
    if spec.grid.infinite_width:
        deepest = replace(deepest, width=INFINITE_WIDTH)
    return metric_names(pack_config(spec, deepest))


def _checked(query: Query, known: tuple[str, ...]) -> frozenset[str] | None:
    """Names of the requested metrics with patterns expanded; None: all.

    Raises:
        InvalidRequest: Names every wrong field.
    """
    named = _by_pattern(known)
    found = [named.get(pattern, frozenset()) for pattern in query.metrics]
    unknown = [i for i, metrics in enumerate(found) if not metrics]
    wrong = [
        FieldViolation(f"metrics[{i}]", _unknown(query.metrics[i], known, suggest=n < _SUGGESTIONS))
        for n, i in enumerate(unknown)
    ]
    first, last = query.first_step, query.last_step
    if first < 0:
        wrong.append(FieldViolation("first_step", f"must be at least 0, not {first}"))
    if last < 0 or 0 < last < first:
        wrong.append(
            FieldViolation("last_step", f"must be 0 (to the end) or at least first_step, not {last}")
        )
    if wrong:
        raise InvalidRequest(wrong)
    if found:
        return frozenset().union(*found)
    plain = frozenset(name for name in known if not is_sketch(name))
    return None if len(plain) == len(known) else plain


def _by_pattern(known: Iterable[str]) -> dict[str, frozenset[str]]:
    """The metrics that each name and each pattern "quantity/*" stands for.

    A table, because a request may have as many patterns as an experiment has metrics.
    """
    found = {name: {name} for name in known}
    for name in list(found):
        quantity, separator, _ = name.partition("/")
        if separator:
            found.setdefault(f"{quantity}/*", set()).add(name)
    return {pattern: frozenset(metrics) for pattern, metrics in found.items()}


def _unknown(name: str, known: tuple[str, ...], suggest: bool) -> str:
    """Message about an unknown name. It lists quantities instead of all their layers, to stay short."""
    if not suggest:
        return f"the experiment does not record {name[:100]!r}"
    choices = list(dict.fromkeys(n if "/" not in n else f"{n.partition('/')[0]}/*" for n in known))
    close = nearest(name, [*known, *choices])
    hint = f"did you mean {close!r}? It" if close else "it"
    return f"the experiment does not record {name[:100]!r}; {hint} records: {', '.join(choices)}"


def _runs_and_packs(store: Store, query: Query) -> tuple[frozenset[int] | None, frozenset[str] | None]:
    """Indices of the requested runs and ids of their packs; None: all."""
    if query.where == ALL:
        return None, None
    records = store.list_runs(query.experiment, query.where, limit=_FEW_RUNS + 1)
    if len(records) <= _FEW_RUNS:
        indices = frozenset(record.index for record in records)
        return indices, frozenset(record.pack for record in records if record.pack)
    return store.run_indices(query.experiment, query.where), None


def _renumbered(points: Points, table: dict[str, int]) -> Points:
    """Renumber metric indices by a shared, growing table, to join points of several segments."""
    if not len(points):
        return points
    place = np.array([table.setdefault(name, len(table)) for name in points.metrics], np.int32)
    return replace(points, metrics=tuple(table), metric=place[points.metric])


def _selected(
    points: Points, query: Query, metrics: frozenset[str] | None, runs: frozenset[int] | None
) -> Points:
    wanted = points.step >= query.first_step
    if query.last_step:
        wanted &= points.step <= query.last_step
    if metrics is not None:
        wanted &= np.isin(points.metric, [i for i, name in enumerate(points.metrics) if name in metrics])
    if runs is not None:
        wanted &= np.isin(points.run, np.fromiter(runs, np.int32, len(runs)))
    return points if wanted.all() else points.select(wanted)


def _joined(parts: Sequence[Points]) -> Points:
    if len(parts) == 1:
        return parts[0]
    return Points(
        parts[-1].metrics,  # the newest table contains the earlier ones
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
