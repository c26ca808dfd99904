"""Groups of runs that are on no service: summarized as the service does it, and read as the client does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from iplab.results.best import BestRate, best_rate
from iplab.results.run import Run
from iplab.results.summary import Summary, summary_row
from iplab.v1 import run_service_pb2 as pb
from ipserver.api import summaries
from ipserver.api.paging import PageTokens
from ipserver.store.states import RunState
from ipserver.store.summary import VALUES

_TOKENS = PageTokens(b"key")


def summarize(runs: Sequence[Run]) -> Summary:
    """As `Experiment.summary`."""
    return Summary(summary_row(group) for group in _answer(runs, pb.SummarizeRunsRequest()).groups)


def best_rates(runs: Sequence[Run]) -> list[BestRate]:
    """As `Experiment.best_rates`."""
    answer = _answer(runs, pb.SummarizeRunsRequest(best_rate=pb.BestRate()))
    return [best_rate(group, answer.best_rate_value) for group in answer.groups]


def _answer(runs: Sequence[Run], request: pb.SummarizeRunsRequest) -> pb.SummarizeRunsResponse:
    request.parent, request.page_size = "experiments/e", 1000
    regimes = {(run.parameterization, run.hidden_layers, run.activation): None for run in runs}
    query = summaries.parse(request, _TOKENS)
    columns = (*summaries.ALL_AXES, "state", *VALUES)
    groups = [
        dict(zip(columns, zip(*map(_row, group), strict=True), strict=True))
        for group in _grouped(runs, query.by)
    ]
    criterion = ""
    if query.best is not None:
        validated = any(run.best_validation_loss is not None for run in runs)
        criterion = "best_validation_loss" if validated else "final_test_loss"
    return summaries.summarized(groups, criterion, query, regimes, _TOKENS)


def _grouped(runs: Iterable[Run], by: Sequence[str]) -> list[list[Run]]:
    """In the runs' order, but those of a parameterization together."""
    found: dict[tuple[object, ...], list[Run]] = {}
    place: dict[str, int] = {}
    for run in runs:
        place.setdefault(run.parameterization, len(place))
        found.setdefault(tuple(getattr(run._run, axis) for axis in by), []).append(run)
    return sorted(found.values(), key=lambda group: place[group[0].parameterization])


def _row(run: Run) -> tuple[object, ...]:
    summary = run._run.summary
    return (
        *(getattr(run._run, axis) for axis in summaries.ALL_AXES),
        RunState(run.state.value),
        *(getattr(summary, name) if summary.HasField(name) else None for name in VALUES),
    )
