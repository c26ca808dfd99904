"""`iplab submit`, `iplab cancel`, `iplab pause` and `iplab resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from iplab.cli.app import NOTHING_DONE, Service, json_option, note, print_json, run_reference, warn
from iplab.cli.results import brief
from iplab.cli.watch import finish
from iplab.terminal import folded

if TYPE_CHECKING:
    from iplab.experiment import Experiment
    from iplab.run import Run

# What an experiment has only once it is there.
_ONLY_CREATED = frozenset(
    {
        "name",
        "uid",
        "state",
        "committed_steps",
        "sequence",
        "create_time",
        "start_time",
        "end_time",
        "mlflow_pending_runs",
    }
)


@click.command()
@click.argument("file", type=click.Path())
@click.option(
    "--id", "experiment_id", default=None, help="Id of the experiment. Default: the service chooses."
)
@click.option("--request-id", default=None, help="UUID; submitting again under it creates nothing twice.")
@click.option(
    "--dry-run", is_flag=True, help="Check only: counts, memory, rough time, warnings; nothing is created."
)
@click.option("--watch", "follow", is_flag=True, help="Follow it to its end, as `iplab watch`.")
@json_option
@click.pass_obj
def submit(
    service: Service,
    file: str,
    *,
    experiment_id: str | None,
    request_id: str | None,
    dry_run: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Submit the spec in FILE, print its id.

    FILE is YAML, or JSON if its name ends in .json.
    """
    if dry_run and follow:
        raise click.UsageError("--dry-run creates nothing that --watch could follow; give one of them")
    if experiment_id == "":
        raise click.UsageError("--id is empty; name an id, or leave --id out and the service chooses one")
    with service.connect() as client:
        experiment = client.create(
            file, experiment_id=experiment_id or "", request_id=request_id, validate_only=dry_run
        )
        for warning in experiment.warnings:
            warn(warning if dry_run else brief(warning, "more: --dry-run"))
        if follow:
            click.echo(f"submitted {experiment.id}", err=True)
            finish(experiment, as_json=as_json)
        elif as_json:
            plain = experiment.to_dict()
            print_json({k: v for k, v in plain.items() if not (dry_run and k in _ONLY_CREATED)})
        elif dry_run:
            from iplab.progress import duration  # noqa: PLC0415 - rich is slow to load

            memory = experiment.run_memory_bytes / 2**20
            click.echo(
                f"the spec is good: {experiment.counts.total} runs, {experiment.total_steps} steps, "
                f"at most about {memory:.1f} MiB a run"
            )
            if experiment.estimated_seconds:
                rough = duration(experiment.estimated_seconds)
                click.echo(folded(f"roughly {rough} of training: {experiment.estimate_basis}"))
        else:
            click.echo(experiment.id)


@click.command()
@click.argument("experiment")
@click.argument("run", required=False)
@json_option
@click.pass_obj
def cancel(service: Service, experiment: str, run: str | None, *, as_json: bool) -> None:
    """Stop EXPERIMENT, or one RUN of it.

    RUN is an index or id. What trains stops at its next slice boundary, about a second later. What has ended
    stays as it is. An experiment of which a run was cancelled ends CANCELLED (or FAILED), not SUCCEEDED, even
    if all its other runs succeed.
    """
    with service.connect() as client:
        found = client.experiment(experiment)
        target = found if run is None else found.run(run_reference(run))
        _say(target.cancel(), "cancel", {"CANCELLING", "CANCELLED"}, as_json=as_json)


@click.command()
@click.argument("experiment")
@json_option
@click.pass_obj
def pause(service: Service, experiment: str, *, as_json: bool) -> None:
    """Pause EXPERIMENT until it is resumed.

    What trains is given back with a checkpoint, about two seconds later: PAUSING until then, PAUSED from
    then on. What has ended, or is being cancelled, stays as it is.
    """
    with service.connect() as client:
        _say(client.experiment(experiment).pause(), "pause", {"PAUSING", "PAUSED"}, as_json=as_json)


@click.command()
@click.argument("experiment")
@json_option
@click.pass_obj
def resume(service: Service, experiment: str, *, as_json: bool) -> None:
    """Continue a paused EXPERIMENT from its checkpoints."""
    with service.connect() as client:
        _say(client.experiment(experiment).resume(), "resume", {"QUEUED", "RUNNING"}, as_json=as_json)


def _say(target: Experiment | Run, request: str, wanted: set[str], *, as_json: bool) -> None:
    """Print what it is now, and exit with a code of its own if it is not what was asked for."""
    if as_json:
        print_json(target.to_dict())
    else:
        click.echo(f"{target.id} is {target.state}")
    if target.state.value in wanted:
        return
    if target.state.terminal:
        note(f"nothing to {request}: it has ended")
    else:
        note(f"it is {target.state}, so it cannot {request} now")
    click.get_current_context().exit(NOTHING_DONE)
