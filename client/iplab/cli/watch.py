"""`iplab watch`, and how `submit --watch` ends."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING

import click

import iplab
from iplab.cli.app import ALL_DIVERGED, ENDED_BADLY, Service, json_option, print_json, warn
from iplab.cli.results import divergence, headline, print_results
from iplab.display.terminal import echo
from iplab.results.states import ExperimentState

if TYPE_CHECKING:
    from iplab.results.events import Event
    from iplab.results.experiment import Experiment


@click.command()
@click.argument("experiment")
@click.option("--after", default=0, show_default=True, help="With --json: events with a greater sequence.")
@json_option
@click.pass_obj
def watch(service: Service, experiment: str, *, after: int, as_json: bool) -> None:
    """Follow EXPERIMENT to its end.

    Shows progress per group of runs and the time left (in a file or pipe, a line every few seconds), then the
    table of results. With --json prints one event per line as it arrives. The exit code says how it ended.
    """
    with service.connect() as client:
        found = client.experiment(experiment)
        if not as_json:
            finish(found, as_json=False)
            return
        for event in found.watch(after):
            echo(json.dumps(_event(event)))
        _exit(found.refresh())


def finish(experiment: Experiment, *, as_json: bool) -> None:
    """Wait for the end, print the result, and exit by the final state."""
    try:
        experiment.wait()
    except (KeyboardInterrupt, iplab.UnavailableError) as error:
        back = "" if isinstance(error, KeyboardInterrupt) else " as soon as its service is back"
        echo(f"{experiment.id} continues{back}; follow it again with: iplab watch {experiment.id}", err=True)
        raise
    if as_json:
        print_json(experiment.to_dict())
        if said := divergence(experiment):
            warn(said)
    else:
        echo(headline(experiment))
        print_results(experiment, experiment.summary())
    _exit(experiment)


def _exit(experiment: Experiment) -> None:
    if experiment.state is not ExperimentState.SUCCEEDED:
        click.get_current_context().exit(ENDED_BADLY)
    if experiment.all_diverged:
        click.get_current_context().exit(ALL_DIVERGED)


def _event(event: Event) -> dict[str, object]:
    """Its fields, and "event" for its kind."""
    from iplab.specs.plain import time_text  # noqa: PLC0415 - messages only after connecting

    plain: dict[str, object] = {"event": type(event).__name__}
    for entry in fields(event):
        value = getattr(event, entry.name)
        plain[entry.name] = time_text(value) if isinstance(value, datetime) else value
    return plain
