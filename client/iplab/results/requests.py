"""Names, requests and conversion of answers, shared by the sync and the async client."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from iplab import given
from iplab.errors import InvalidRequestError, Violation
from iplab.results.run_view import RunView
from iplab.results.settings import Settings
from iplab.results.summary import averaged
from iplab.specs.updating import set_masked
from iplab.v1 import experiment_pb2, run_service_pb2
from iplab.v1 import experiment_service_pb2 as experiment_service

_RUN_ID: Final = re.compile(r"r[0-9]{5,}")


def experiment_name(experiment: str) -> str:
    """An experiment's name, from its id or its name.

    >>> experiment_name("mine"), experiment_name("experiments/mine")
    ('experiments/mine', 'experiments/mine')
    """
    return given.name_of("experiment", "experiments/", experiment)


def run_name(experiment: str, run: object) -> str:
    """A run's name, from its index or its id: a function of the index, so that no listing is needed.

    >>> run_name("experiments/mine", 7)
    'experiments/mine/runs/r00007'

    Raises:
        InvalidRequestError: It is neither.
    """
    if (index := given.index_of(run)) is not None:
        return f"{experiment}/runs/r{index:05d}"
    if isinstance(run, str) and _RUN_ID.fullmatch(run):
        return f"{experiment}/runs/{run}"
    message = f"{run!r} is neither the index of a run, as 7, nor the id of one, as 'r00007'"
    raise InvalidRequestError([Violation("run", message)])


def metrics(
    experiment: str, filter: str, names: Sequence[str], steps: tuple[int, int]
) -> run_service_pb2.QueryMetricsRequest:
    """Metric points of an experiment's runs; arguments as `Experiment.metrics`, `steps` first and last."""
    return given.filled(
        run_service_pb2.QueryMetricsRequest,
        parent=experiment,
        filter=filter,
        metrics=given.names_of("names", names),
        first_step=steps[0],
        last_step=steps[1],
    )


def summary(experiment: str, filter: str) -> run_service_pb2.SummarizeRunsRequest:
    """Means over seeds of all values that a `SummaryRow` has."""
    kind = run_service_pb2.SummarizeRunsRequest
    return given.filled(kind, parent=experiment, filter=filter, values=averaged().values())


def best_rates(
    experiment: str, filter: str, by: str, *, largest: bool
) -> run_service_pb2.SummarizeRunsRequest:
    """The best rate of each group; arguments as `Experiment.best_rates`."""
    best = given.filled(run_service_pb2.BestRate, value=by, largest=largest)
    return given.filled(
        run_service_pb2.SummarizeRunsRequest, parent=experiment, filter=filter, best_rate=best
    )


def runs(
    experiment: str, filter: str, order_by: str = "", page_size: int = 0
) -> run_service_pb2.ListRunsRequest:
    """Runs of an experiment; arguments as `Experiment.runs`."""
    kind = run_service_pb2.ListRunsRequest
    return given.filled(kind, parent=experiment, filter=filter, order_by=order_by, page_size=page_size)


def experiments(
    filter: str, *, show_deleted: bool = False, page_size: int = 0
) -> experiment_service.ListExperimentsRequest:
    """Experiments of a service; arguments as `Client.experiments`."""
    kind = experiment_service.ListExperimentsRequest
    return given.filled(kind, filter=filter, show_deleted=show_deleted, page_size=page_size)


def request_id(chosen: str | None) -> str:
    """The id of a request: a new one if none is given, so that its repetitions are one; "": none."""
    return str(uuid.uuid4()) if chosen is None else chosen


def extension(
    experiment: str,
    seeds: Iterable[int],
    widths: Iterable[int],
    base_learning_rates: Iterable[float],
    given_id: str | None,
    *,
    validate_only: bool,
) -> experiment_service.ExtendExperimentRequest:
    """More runs of an experiment; arguments as `Experiment.extend`."""
    return experiment_service.ExtendExperimentRequest(
        name=experiment,
        seeds=given.numbers_of("seeds", int, seeds),
        widths=given.numbers_of("widths", int, widths),
        base_learning_rates=given.numbers_of("base_learning_rates", float, base_learning_rates),
        request_id=request_id(given_id),
        validate_only=validate_only,
    )


def update(
    experiment: str, etag: str, labels: Mapping[str, str | None] | None, **values: str | int | None
) -> experiment_service.UpdateExperimentRequest:
    """A change of what describes an experiment; arguments as `Experiment.update`."""
    message = experiment_pb2.Experiment(name=experiment, etag=etag)
    mask = set_masked(message, labels, **values)
    return experiment_service.UpdateExperimentRequest(experiment=message, update_mask=mask)


def settings_of(runs: Iterable[RunView]) -> Mapping[int, Settings]:
    """Where runs stand in the grid, by index."""
    return {run.index: run.settings for run in runs}


def diverged_of(runs: Iterable[RunView]) -> Mapping[int, int]:
    """At which step those of the runs that diverged did, by index."""
    return {run.index: run.diverged_step or 0 for run in runs if run.state == "DIVERGED"}
