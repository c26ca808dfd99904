"""Names, requests and conversion of answers, shared by the sync and the async client."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence

from iplab import given
from iplab.results.run_view import RunView
from iplab.results.settings import Settings
from iplab.results.summary import averaged
from iplab.specs.updating import set_masked
from iplab.v1 import experiment_pb2, run_service_pb2
from iplab.v1 import experiment_service_pb2 as experiment_service


def experiment_name(experiment: str) -> str:
    """An experiment's name, from its id or its name.

    >>> experiment_name("mine"), experiment_name("experiments/mine")
    ('experiments/mine', 'experiments/mine')
    """
    return given.name_of("experiment", "experiments/", experiment)


def run_name(experiment: str, run: int | str) -> str:
    """A run's name, from its index or its id: a function of the index, so that no listing is needed.

    >>> run_name("experiments/mine", 7)
    'experiments/mine/runs/r00007'
    """
    return f"{experiment}/runs/{f'r{run:05d}' if isinstance(run, int) else run}"


def metrics(
    experiment: str, filter: str, names: Sequence[str], steps: tuple[int, int]
) -> run_service_pb2.QueryMetricsRequest:
    """Metric points of an experiment's runs; arguments as `Experiment.metrics`, `steps` first and last."""
    return run_service_pb2.QueryMetricsRequest(
        parent=experiment,
        filter=filter,
        metrics=given.names_of(names),
        first_step=steps[0],
        last_step=steps[1],
    )


def summary(experiment: str, filter: str) -> run_service_pb2.SummarizeRunsRequest:
    """Means over seeds of all values that a `SummaryRow` has."""
    return run_service_pb2.SummarizeRunsRequest(parent=experiment, filter=filter, values=averaged().values())


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
