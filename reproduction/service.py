"""Runs an experiment spec on the real service, and fetches what it recorded.

An experiment's id follows from its spec, so an interrupted reproduction continues where it stopped.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import iplab
from iplab.errors import NotFoundError
from reproduction.study import Measured, Spec, Study, StudyError, key

# A start needs some 30 s of CPU, and much longer beside other work; a service that fails ends by itself.
_START_SECONDS: Final = 600.0
_FINAL: Final = ("test_loss", "test_accuracy")


@contextmanager
def service(home: Path) -> Iterator[str]:
    """`ipserver up` in a home folder, on a free port; yields its address and stops it at the end."""
    status = home / "service.json"
    status.unlink(missing_ok=True)  # what a killed service has left says nothing
    command = [sys.executable, "-m", "ipserver", "up", "--home", str(home), "--address", "127.0.0.1:0"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not status.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StudyError(f"the service did not start; its logs are in {home / 'logs'}")
            time.sleep(0.1)
        yield json.loads(status.read_text())["address"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def run(
    client: iplab.Client, study: Study, spec: Spec, identifier: str = ""
) -> tuple[float, tuple[Measured, ...]]:
    """Train a study's spec, or go on with it, and fetch its numbers.

    Args:
        client: Client of the service.
        study: The study.
        spec: Its spec.
        identifier: An experiment that was submitted with the same spec; "": the reproduction's own.

    Returns:
        Seconds from its first run's start to its end, and the runs.

    Raises:
        StudyError: It failed or was cancelled, or the experiment named has another spec.
    """
    if identifier:
        _check_same(client, spec, identifier)
    identifier = identifier or f"{study.name}-{key(spec)[:8]}"
    try:
        experiment = client.experiment(identifier)
    except NotFoundError:
        experiment = client.create(dict(spec), experiment_id=identifier)
    experiment.wait(progress=True)
    if experiment.state is not iplab.ExperimentState.SUCCEEDED:
        raise StudyError(
            f"the experiment {identifier} is {experiment.state}; `iplab show {identifier}` says why. To "
            "start it anew, delete the home folder of the reproduction"
        )
    begun, ended = experiment.start_time, experiment.end_time
    seconds = (ended - begun).total_seconds() if begun and ended else 0.0
    return seconds, tuple(fetch(experiment, study.metrics))


def _check_same(client: iplab.Client, spec: Spec, identifier: str) -> None:
    """The numbers of an experiment do not depend on the order of its axes; all else must be the same."""
    wanted, found = client.create(dict(spec), validate_only=True).spec, client.experiment(identifier).spec
    for one in (wanted, found):
        grid = one.grid
        for axis in (grid.widths, grid.hidden_layers, grid.activations, grid.base_learning_rates, grid.seeds):
            axis.sort()
        grid.parameterizations.sort(key=lambda entry: entry.label)
    if wanted != found:
        raise StudyError(f"the experiment {identifier} was submitted with another spec")


def fetch(experiment: iplab.Experiment, metrics: tuple[str, ...]) -> Iterator[Measured]:
    """An experiment's runs, with the points of the metrics wanted."""
    values: dict[int, dict[str, float]] = defaultdict(dict)
    if metrics:
        points = experiment.metrics()
        for run, metric, step, value in zip(
            points.run.tolist(),
            points.metric.tolist(),
            points.step.tolist(),
            points.value.tolist(),
            strict=True,
        ):
            name = points.names[metric]
            quantity = name.partition("/")[0]
            if quantity in metrics or f"{quantity}@{step}" in metrics:
                values[run][f"{name}@{step}"] = value
    for run in experiment.runs():
        own = values[run.index]
        final = (run.final_test_loss, run.final_test_accuracy)
        own.update({name: value for name, value in zip(_FINAL, final, strict=True) if value is not None})
        yield Measured(
            run.parameterization,
            run.hidden_layers,
            run.width,
            run.activation,
            run.base_learning_rate,
            run.seed,
            own,
        )
