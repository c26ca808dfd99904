"""`iplab submit` and `iplab cancel`."""

from __future__ import annotations

import click

from iplab.cli.app import Service, json_option, print_json, warn
from iplab.cli.watch import finish


@click.command()
@click.argument("file", type=click.Path())
@click.option("--id", "experiment_id", default="", help="Id of the experiment. Default: the service chooses.")
@click.option("--request-id", default=None, help="UUID; submitting again under it creates nothing twice.")
@click.option("--dry-run", is_flag=True, help="Check only: counts, memory, warnings; nothing is created.")
@click.option("--watch", "follow", is_flag=True, help="Follow it to its end, as `iplab watch`.")
@json_option
@click.pass_obj
def submit(
    service: Service,
    file: str,
    *,
    experiment_id: str,
    request_id: str | None,
    dry_run: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Submit the spec in FILE (YAML, or JSON if it ends in .json) and print the experiment's id."""
    if dry_run and follow:
        raise click.UsageError("--dry-run creates nothing that --watch could follow; give one of them")
    with service.connect() as client:
        experiment = client.create(
            file, experiment_id=experiment_id, request_id=request_id, validate_only=dry_run
        )
        for warning in experiment.warnings:
            warn(warning)
        if follow:
            click.echo(f"submitted {experiment.id}", err=True)
            finish(experiment, as_json=as_json)
        elif as_json:
            print_json(experiment.to_dict())
        elif dry_run:
            memory = experiment.run_memory_bytes / 2**20
            click.echo(
                f"the spec is good: {experiment.counts.total} runs, {experiment.total_steps} steps, "
                f"at most about {memory:.1f} MiB a run"
            )
        else:
            click.echo(experiment.id)


@click.command()
@click.argument("experiment")
@click.argument("run", required=False)
@json_option
@click.pass_obj
def cancel(service: Service, experiment: str, run: str | None, *, as_json: bool) -> None:
    """Ask EXPERIMENT, or one RUN of it (index or id), to stop.

    What trains stops at its next slice boundary, about a second later. What has ended stays as it is.
    """
    with service.connect() as client:
        found = client.experiment(experiment)
        target = found.cancel() if run is None else found.run(run_reference(run)).cancel()
        if as_json:
            print_json(target.to_dict())
        else:
            click.echo(f"{target.id} is {target.state}")


def run_reference(text: str) -> int | str:
    """A run as people write it: "7", "r00007" or its full name."""
    last = text.rpartition("/")[2]
    return int(last) if last.isdecimal() else last
