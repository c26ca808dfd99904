"""`iplab submit`, `extend`, `retry`, `cancel`, `pause` and `resume`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click

import iplab
from iplab.cli.app import NOTHING_DONE, Service, json_option, note, print_json, run_reference, warn
from iplab.cli.results import brief
from iplab.cli.watch import finish
from iplab.display.pace import duration
from iplab.display.terminal import echo, folded
from iplab.results.numbers import counted

if TYPE_CHECKING:
    from iplab.results.experiment import Experiment
    from iplab.results.run import Run
    from iplab.studies.study import Study

Number = TypeVar("Number", int, float)

# Larger ranges are probably mistakes, and the service would refuse them.
_MOST_NUMBERS = 100_000
# Fields that only a created experiment has.
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
@click.option("--request-id", default=None, help="UUID; repeating it creates no second experiment.")
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
    """Submit the spec in FILE; print the experiment's id.

    FILE is YAML, or JSON if its name ends in .json.
    """
    if dry_run and follow:
        raise click.UsageError("--dry-run creates nothing that --watch could follow; give one of them")
    if experiment_id == "":
        raise click.UsageError("--id is empty; give an id, or leave --id out and the service chooses one")
    with service.connect() as client:
        with going_on(experiment_id):
            experiment = client.create(
                file, experiment_id=experiment_id or "", request_id=request_id, validate_only=dry_run
            )
        say_warnings(experiment, dry_run=dry_run)
        if follow:
            echo(f"submitted {experiment.id}", err=True)
            finish(experiment, as_json=as_json)
        elif as_json:
            plain = experiment.to_dict()
            print_json({k: v for k, v in plain.items() if not (dry_run and k in _ONLY_CREATED)})
        elif dry_run:
            say_estimate(experiment)
        else:
            echo(experiment.id)


def say_warnings(experiment: Experiment, *, dry_run: bool) -> None:
    """Warnings of a spec: whole where they are asked for, else their first sentences."""
    for warning in experiment.warnings:
        warn(warning if dry_run else brief(warning, "more: --dry-run"))


def say_estimate(experiment: Experiment) -> None:
    """What --dry-run says of a valid spec: size, memory, rough time."""
    memory = experiment.run_memory_bytes / 2**20
    echo(
        folded(
            f"the spec is valid: {counted(experiment.counts.total, 'run')}, "
            f"{counted(experiment.total_steps, 'step')}, at most about {memory:.1f} MiB a run"
        )
    )
    if experiment.estimated_seconds:
        rough = duration(experiment.estimated_seconds)
        echo(folded(f"roughly {rough} of training: {experiment.estimate_basis}"))


@contextmanager
def going_on(experiment_id: str | None) -> Iterator[None]:
    """Add to an error about a taken id how to extend the existing experiment."""
    try:
        yield
    except iplab.RequestIdReusedError:
        raise
    except iplab.AlreadyExistsError as error:
        raise iplab.AlreadyExistsError(
            f"{error}; more runs for it: `iplab extend {experiment_id}`"
        ) from error


@click.command()
@click.argument("experiment")
@click.argument("run", required=False)
@json_option
@click.pass_obj
def cancel(service: Service, experiment: str, run: str | None, *, as_json: bool) -> None:
    """Stop EXPERIMENT, or one RUN of it.

    RUN is an index or id. Training runs stop at their next slice boundary, about a second later. Ended runs
    are unchanged. An experiment with a cancelled run ends CANCELLED (or FAILED), not SUCCEEDED, even if all
    its other runs succeed.
    """
    with service.connect() as client:
        found = client.experiment(experiment)
        target = found if run is None else found.run(run_reference(run))
        say_state(target.cancel(), "cancel", {"CANCELLING", "CANCELLED"}, as_json=as_json)


@click.command()
@click.argument("experiment")
@json_option
@click.pass_obj
def pause(service: Service, experiment: str, *, as_json: bool) -> None:
    """Pause EXPERIMENT until it is resumed.

    Training packs are given back with a checkpoint, about two seconds later: the state is PAUSING until then,
    and then PAUSED. Runs that have ended or are being cancelled are unchanged.
    """
    with service.connect() as client:
        say_state(client.experiment(experiment).pause(), "pause", {"PAUSING", "PAUSED"}, as_json=as_json)


@click.command()
@click.argument("experiment")
@json_option
@click.pass_obj
def resume(service: Service, experiment: str, *, as_json: bool) -> None:
    """Continue a paused EXPERIMENT from its checkpoints."""
    with service.connect() as client:
        say_state(client.experiment(experiment).resume(), "resume", {"QUEUED", "RUNNING"}, as_json=as_json)


@click.command()
@click.argument("experiment")
@click.argument("run", required=False)
@click.option("--watch", "follow", is_flag=True, help="Follow it to its end, as `iplab watch`.")
@json_option
@click.pass_obj
def retry(service: Service, experiment: str, run: str | None, *, follow: bool, as_json: bool) -> None:
    """Train the failed runs of EXPERIMENT again, or one failed RUN.

    They continue from where they stopped and keep recorded data. Diverged runs did not fail.
    """
    with service.connect() as client:
        found = client.experiment(experiment)
        failed = found.counts.failed
        target = found.retry_failed() if run is None else found.run(run_reference(run)).retry()
        if follow:
            finish(found.refresh(), as_json=as_json)
        elif as_json:
            print_json(target.to_dict())
        elif run is not None:
            echo(f"{target.id} is {target.state}")
        elif failed:
            echo(f"{found.id} is {found.state}; trained again: {counted(failed, 'failed run')}")
        else:
            note("nothing to retry: no run failed")
            click.get_current_context().exit(NOTHING_DONE)


@click.command()
@click.argument("experiment")
@click.option("--seeds", metavar="LIST", help="Seeds to add, as 8..15 or 8,9,12.")
@click.option("--widths", metavar="LIST", help="Widths to add, as 512,1024.")
@click.option("--base-learning-rates", "rates", metavar="LIST", help="Base rates to add, as 0.1,0.2.")
@click.option("--request-id", default=None, help="UUID; repeating it adds nothing twice.")
@click.option("--dry-run", is_flag=True, help="Check only; nothing is added.")
@click.option("--watch", "follow", is_flag=True, help="Follow it to its end, as `iplab watch`.")
@json_option
@click.pass_obj
def extend(
    service: Service,
    experiment: str,
    *,
    seeds: str | None,
    widths: str | None,
    rates: str | None,
    request_id: str | None,
    dry_run: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Add seeds, widths or base learning rates to EXPERIMENT.

    The new runs are numbered after the others and get the numbers that they would have had from the start. An
    experiment that has ended continues until they have ended too.
    """
    if dry_run and follow:
        raise click.UsageError("--dry-run adds nothing that --watch could follow; give one of them")
    with service.connect() as client:
        found = client.experiment(experiment)
        before = found.counts.total
        extended = found.extend(
            seeds=numbers_of("--seeds", seeds, int),
            widths=numbers_of("--widths", widths, int),
            base_learning_rates=numbers_of("--base-learning-rates", rates, float),
            request_id=request_id,
            validate_only=dry_run,
        )
        if follow:
            finish(extended, as_json=as_json)
        elif as_json:
            print_json(extended.to_dict())
        else:
            would = "would have" if dry_run else "has"
            total = extended.counts.total
            echo(f"{extended.id} {would} {total} runs, {total - before} of them new")


def numbers_of(option: str, text: str | None, kind: type[Number]) -> list[Number]:
    """Parse a list of numbers; whole numbers may be given as first..last."""
    values: list[Number] = []
    for part in filter(None, (text or "").split(",")):
        first, dots, last = part.partition("..")
        try:
            if not dots:
                values.append(kind(first))
                continue
            ends = int(first), int(last)
        except ValueError:
            allowed = "numbers as 0.1,0.2" if kind is float else "whole numbers as 8,9,12 or 8..15"
            raise click.UsageError(f"{option} {text!r}: {part!r} is not a number; write {allowed}") from None
        if not 0 <= ends[1] - ends[0] < _MOST_NUMBERS:
            wrong = "runs backwards" if ends[1] < ends[0] else f"is more than {_MOST_NUMBERS:,} numbers"
            raise click.UsageError(f"{option} {text!r}: {part!r} {wrong}")
        values += map(kind, range(ends[0], ends[1] + 1))
    return values


def say_state(target: Experiment | Run | Study, request: str, wanted: set[str], *, as_json: bool) -> None:
    """Print the state, and exit with a separate code if it is not the requested one."""
    if as_json:
        print_json(target.to_dict())
    else:
        echo(f"{target.id} is {target.state}")
    if target.state.value in wanted:
        return
    if target.state.terminal:
        note(f"nothing to {request}: it has ended")
    else:
        note(f"it is {target.state}, so it cannot {request} now")
    click.get_current_context().exit(NOTHING_DONE)
