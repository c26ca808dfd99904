"""`iplab list`, `show` and `runs`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from iplab.cli.app import Service, folded, json_option, note, print_json, print_json_list, run_reference
from iplab.cli.watch import headline
from iplab.numbers import SETTING_DIGITS, number

if TYPE_CHECKING:
    from datetime import datetime

    from iplab.experiment import Experiment
    from iplab.run import Run


@click.command("list")
@click.option("--filter", "filter_", default="", help="As 'state = RUNNING AND labels.team = \"theory\"'.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@json_option
@click.pass_obj
def list_experiments(service: Service, *, filter_: str, limit: int, as_json: bool) -> None:
    """List experiments, newest first."""
    from iplab.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn

    with service.connect() as client:
        found = list(client.experiments(filter_, limit=limit))
    if as_json:
        print_json([experiment.to_dict() for experiment in found])
        return
    if not found:
        note("no experiments match" if filter_ else "there are no experiments yet")
        return
    rows = [
        (
            experiment.id,
            str(experiment.state),
            experiment.counts.total,
            f"{100 * experiment.committed_steps / max(experiment.total_steps, 1):.0f} %",
            f"{experiment.create_time:%Y-%m-%d %H:%M:%S}",
            experiment.display_name,
        )
        for experiment in found
    ]
    headings = ["experiment", "state", "runs", "steps", "created (UTC)", "name"]
    print_table(table_of(headings, rows, folding={"name"}))


@click.command()
@click.argument("experiment")
@click.argument("run", required=False)
@json_option
@click.pass_obj
def show(service: Service, experiment: str, run: str | None, *, as_json: bool) -> None:
    """Show EXPERIMENT with its results, or one RUN of it.

    Of an experiment: state, warnings, and final results (mean and sample sd over seeds). Of a run (index or
    id): settings, metrics, every attempt, and why it failed, with the worker's traceback and log.
    """
    with service.connect() as client:
        found = client.experiment(experiment)
        if run is not None:
            one = found.run(run_reference(run))
            if as_json:
                print_json(one.to_dict())
            else:
                print_run(one)
        elif as_json:
            print_json({**found.to_dict(), "summary": [row.to_dict() for row in found.summary()]})
        else:
            print_experiment(found)


def print_experiment(experiment: Experiment) -> None:
    """State, counts, warnings and the results table."""
    from iplab.tables import print_table, summary_table  # noqa: PLC0415 - as above

    click.echo(headline(experiment))
    if experiment.display_name:
        click.echo(experiment.display_name)
    click.echo(f"{experiment.committed_steps} of {experiment.total_steps} steps")
    if experiment.mlflow_pending_runs:
        click.echo(f"MLflow does not hold {experiment.mlflow_pending_runs} runs in full yet")
    for warning in experiment.warnings:
        first = _first_sentence(warning)
        more = "" if first == warning else " (more: --json)"
        click.echo(folded(f"warning: {first}{more}"))
    print_table(summary_table(experiment.summary()))
    # A hundred runs often fail for the same reason; one of each is enough here, `runs --json` has them all.
    reasons: dict[str, Run] = {}
    for failed in experiment.runs("state = FAILED"):
        if failed.failure:
            reasons.setdefault(failed.failure.message, failed)
    for message, failed in reasons.items():
        click.echo(folded(f"{failed.id} failed: {message} (more: iplab show {experiment.id} {failed.id})"))


def print_run(run: Run) -> None:
    """State, settings, metrics, attempts, and the failure in full."""
    from iplab.summary import label  # noqa: PLC0415 - as above
    from iplab.tables import print_table, table_of  # noqa: PLC0415 - as above

    click.echo(f"{run.id} is {run.state}: {run.committed_steps} of {run.steps} steps")
    rate = number(run.base_learning_rate, SETTING_DIGITS)
    settings = (
        f"{run.parameterization}, L={run.hidden_layers}, width {run.width}, {run.activation}, "
        f"base rate {rate}, seed {run.seed}; theory: {run.predicted_regime.words}"
    )
    click.echo(folded(settings))
    if run.calibrated_rates:
        rates = ", ".join(number(rate) for rate in run.calibrated_rates)
        click.echo(folded(f"calibrated rates of step 0: {rates}"))
    results = run.results
    results["diverged_step"] = results.pop("diverged_step")  # after all that was measured before it
    for name, value in results.items():
        if value is not None:
            click.echo(f"{label(name)}: {number(value, SETTING_DIGITS)}")
    attempts = [
        (a.number, a.first_step, _clock(a.start_time), _clock(a.end_time), a.end_reason or None)
        for a in run.attempts
    ]
    if attempts:
        click.echo()
        headings = ["attempt", "from step", "started (UTC)", "ended (UTC)", "ended by"]
        print_table(table_of(headings, attempts, folding=()))
    if run.failure:
        click.echo()
        click.echo(folded(f"failed, {run.failure.reason}: {run.failure.message}"))
        if run.failure.traceback:
            click.echo(run.failure.traceback.rstrip())
        if run.failure.log_tail:
            click.echo(f"last lines of the worker's log:\n{run.failure.log_tail.rstrip()}")


def _clock(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _first_sentence(text: str) -> str:
    found = re.match(r".*?[.!?](?=\s+[A-Z])", text)
    return found[0] if found else text


@click.command()
@click.argument("experiment")
@click.option("--filter", "filter_", default="", help="As 'parameterization = \"ip\" AND width >= 128'.")
@json_option
@click.pass_obj
def runs(service: Service, experiment: str, *, filter_: str, as_json: bool) -> None:
    """List the runs of EXPERIMENT by index.

    What all of them share stands in the title; `iplab show EXPERIMENT RUN` has the attempts of a run.
    """
    from iplab.tables import print_table, runs_table  # noqa: PLC0415 - as above

    with service.connect() as client:
        listed = client.experiment(experiment).runs(filter_)
        if as_json:
            # A listing does not read the attempts, so it cannot say that there are none.
            print_json_list({k: v for k, v in run.to_dict().items() if k != "attempts"} for run in listed)
            return
        found = list(listed)
    if not found:
        note("no runs match")
    else:
        print_table(runs_table(found))
