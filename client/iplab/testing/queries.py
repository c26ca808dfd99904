"""Filters, summaries and metrics of the fake service."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from iplab.testing import made_up
from iplab.testing.errors import not_in_the_fake, wrong
from iplab.testing.world import now_ms
from iplab.v1 import run_pb2, spec_pb2
from iplab.v1 import run_service_pb2 as pb

Kind = TypeVar("Kind", bound=Message)
_COMPARISON: Final = re.compile(r"\s*([a-z_]+)\s*=\s*(?:\"([^\"]*)\"|([^\s\"]+))\s*")
# Outside of quotes.
_PARENTHESES: Final = re.compile(r"[()](?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)")
_AXES: Final = ("parameterization", "hidden_layers", "width", "activation", "base_learning_rate")
_ENDED: Final = frozenset(
    run_pb2.RunState.Value(f"RUN_STATE_{it}") for it in ("SUCCEEDED", "DIVERGED", "FAILED", "CANCELLED")
)


def selected(messages: Sequence[Kind], filter: str) -> list[Kind]:
    """The messages that a filter selects. Raises Refused for filters other than `a = 1 AND b = "x"`."""
    found = list(messages)
    flat = _PARENTHESES.sub("", filter)  # they do not change the meaning of comparisons joined by AND
    for comparison in flat.split(" AND ") if flat.strip() else ():
        parts = _COMPARISON.fullmatch(comparison)
        if parts is None:
            raise not_in_the_fake(f"filters such as {comparison.strip()!r}, only NAME = VALUE joined by AND")
        name, value = parts[1], parts[2] if parts[2] is not None else parts[3]
        found = [message for message in found if _text(message, name) == _plain(value)]
    return found


def _plain(value: str) -> str:
    try:
        return repr(float(value))
    except ValueError:
        return value


def _text(message: Message, name: str) -> str:
    """A field's value as written in filters. Raises Refused."""
    found = message.DESCRIPTOR.fields_by_name.get(name)
    if found is None or found.is_repeated or found.message_type is not None:
        raise wrong({"filter": f"unknown field {name!r}"})
    value = getattr(message, name)
    if found.enum_type is not None:
        text: str = found.enum_type.values_by_number[value].name
        return text.partition("_STATE_")[2] or text
    return _plain(str(value))


def summaries(runs: Sequence[run_pb2.Run], request: pb.SummarizeRunsRequest) -> pb.SummarizeRunsResponse:
    """Means and deviations over seeds, a group per point of the grid. Raises Refused."""
    if request.HasField("best_rate") or request.group_by:
        raise not_in_the_fake("summaries by other groups, or of the best rate")
    groups: dict[tuple[Any, ...], list[run_pb2.Run]] = defaultdict(list)
    for run in selected(runs, request.filter):
        groups[tuple(getattr(run, axis) for axis in _AXES)].append(run)
    return pb.SummarizeRunsResponse(
        groups=[
            pb.RunGroup(
                **dict(zip(_AXES, key, strict=True)),
                runs=len(members),
                diverged=sum(run.state == run_pb2.RunState.RUN_STATE_DIVERGED for run in members),
                unfinished=sum(run.state not in _ENDED for run in members),
                values=_values(members, request.values),
            )
            for key, members in groups.items()
        ]
    )


def _values(members: Sequence[run_pb2.Run], names: Sequence[str]) -> Iterator[pb.ValueSummary]:
    known = run_pb2.RunSummary.DESCRIPTOR.fields_by_name
    if unknown := [name for name in names if name not in known]:
        raise wrong({"values": f"there is no value {unknown[0]!r}"})
    kept: list[Message] = [run.summary for run in members]
    for name in names:
        values = [getattr(summary, name) for summary in kept if summary.HasField(name)]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else None
            yield pb.ValueSummary(
                name=name, mean=statistics.fmean(values), deviation=spread, count=len(values)
            )


def metric_blocks(
    spec: spec_pb2.ExperimentSpec, runs: Sequence[run_pb2.Run], request: pb.QueryMetricsRequest
) -> Iterator[pb.QueryMetricsResponse]:
    """The points of runs that have succeeded, a block per run. Raises Refused."""
    unknown = {
        f"metrics[{i}]": f"the fake records {', '.join(made_up.METRICS)}, not {name!r}"
        for i, name in enumerate(request.metrics)
        if name not in made_up.METRICS
    }
    if unknown:
        raise wrong(unknown)
    names = list(request.metrics) or list(made_up.METRICS)
    last = request.last_step or spec.steps
    for run in selected(runs, request.filter):
        if run.state != run_pb2.RunState.RUN_STATE_SUCCEEDED:
            continue
        block = pb.QueryMetricsResponse(metrics=names)
        for position, name in enumerate(names):
            for step in made_up.steps_of(name, spec):
                if request.first_step <= step <= last:
                    block.run_indices.append(run.index)
                    block.metric_indices.append(position)
                    block.steps.append(step)
                    block.times_ms.append(now_ms())
                    block.values.append(made_up.value(name, run, step))
        yield block
