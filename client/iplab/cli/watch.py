"""`iplab watch`, and how `submit --watch` ends."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING

import click

from iplab.cli.app import ENDED_BADLY, Service, json_option, print_json
from iplab.states import ExperimentState

if TYPE_CHECKING:
    from iplab.events import Event
    from iplab.experiment import Experiment


@click.command()
@click.argument("experiment")
@click.option("--after", default=0, show_default=True, help="With --json: events with a greater sequence.")
@json_option
@click.pass_obj
def watch(service: Service, experiment: str, *, after: int, as_json: bool) -> None:
    """Follow EXPERIMENT to its end.

    Shows progress per group of runs and the time left; with --json one event per line, as they come. The exit
    code says how the experiment ended.
    """
    with service.connect() as client:
        found = client.experiment(experiment)
        if not as_json:
            finish(found, as_json=False)
            return
        for event in found.watch(after):
            click.echo(json.dumps(_event(event)))
        _exit(found.refresh())


def finish(experiment: Experiment, *, as_json: bool) -> None:
    """Wait, say how it ended, and exit by the final state."""
    try:
        experiment.wait()
    except KeyboardInterrupt:
        click.echo(f"{experiment.id} goes on; follow it again with: iplab watch {experiment.id}", err=True)
        raise
    if as_json:
        print_json(experiment.to_dict())
    else:
        click.echo(headline(experiment))
    _exit(experiment)


def headline(experiment: Experiment) -> str:
    """One line: "quick is SUCCEEDED: 72 runs (72 succeeded)"."""
    counts = [f"{n} {name}" for name, n in asdict(experiment.counts).items() if n and name != "total"]
    return f"{experiment.id} is {experiment.state}: {experiment.counts.total} runs ({', '.join(counts)})"


def _exit(experiment: Experiment) -> None:
    if experiment.state is not ExperimentState.SUCCEEDED:
        click.get_current_context().exit(ENDED_BADLY)


def _event(event: Event) -> dict[str, object]:
    """Its fields, and "event" for its kind."""
    from iplab.plain import time_text  # noqa: PLC0415 - messages only after connecting

    plain: dict[str, object] = {"event": type(event).__name__}
    for entry in fields(event):
        value = getattr(event, entry.name)
        plain[entry.name] = time_text(value) if isinstance(value, datetime) else value
    return plain
