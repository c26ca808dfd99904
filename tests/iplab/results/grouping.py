"""Groups of runs that are on no service: summarized as the service does it, and read as the client does."""

from __future__ import annotations

from collections.abc import Sequence

from iplab.results.best import BestRate, best_rate
from iplab.results.run import Run
from iplab.results.summary import Summary, summary_row
from iplab.v1 import run_service_pb2 as pb
from ipserver.api import summaries
from ipserver.api.paging import PageTokens
from ipserver.reports.groups import Point
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
    return summaries.summarized(
        [_point(run) for run in runs], summaries.parse(request, _TOKENS), regimes, _TOKENS
    )


def _point(run: Run) -> Point:
    message = run._run
    summary = message.summary
    return Point(
        {axis: getattr(message, axis) for axis in summaries.ALL_AXES},
        RunState(run.state.value),
        {name: getattr(summary, name) if summary.HasField(name) else None for name in VALUES},
    )
