"""`iplab list`, `show`, `runs` and `catalog`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from iplab.cli.app import Service, json_option, print_json
from iplab.cli.watch import headline

if TYPE_CHECKING:
    from iplab.experiment import Experiment


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
    print_table(table_of(["experiment", "state", "runs", "steps", "created (UTC)", "name"], rows))


@click.command()
@click.argument("experiment")
@json_option
@click.pass_obj
def show(service: Service, experiment: str, *, as_json: bool) -> None:
    """Show EXPERIMENT: its state, warnings, and final results (mean and sample sd over seeds)."""
    with service.connect() as client:
        found = client.experiment(experiment)
        if as_json:
            print_json({**found.to_dict(), "summary": [asdict(row) for row in found.summary()]})
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
        click.echo(f"warning: {warning}")
    print_table(summary_table(experiment.summary()))
    # A hundred runs often fail for the same reason; one of each is enough here, `runs --json` has them all.
    reasons = {
        failed.failure.message: failed for failed in experiment.runs("state = FAILED") if failed.failure
    }
    for message, failed in reasons.items():
        click.echo(f"{failed.id} failed: {message}")


@click.command()
@click.argument("experiment")
@click.option("--filter", "filter_", default="", help="As 'parameterization = \"ip\" AND width >= 128'.")
@json_option
@click.pass_obj
def runs(service: Service, experiment: str, *, filter_: str, as_json: bool) -> None:
    """List the runs of EXPERIMENT by index."""
    from iplab.tables import print_table, table_of  # noqa: PLC0415 - as above

    with service.connect() as client:
        found = list(client.experiment(experiment).runs(filter_))
    if as_json:
        print_json([run.to_dict() for run in found])
        return
    headings = ["run", "state", "parameterization", "hidden layers", "width", "activation", "base rate"]
    headings += ["seed", "theory", "step", "train loss", "test loss", "test accuracy"]
    rows = [
        (
            run.id,
            str(run.state),
            run.parameterization,
            run.hidden_layers,
            run.width,
            run.activation,
            run.base_learning_rate,
            run.seed,
            run.predicted_regime.words,
            run.committed_steps,
            run.last_train_loss,
            run.final_test_loss,
            run.final_test_accuracy,
        )
        for run in found
    ]
    print_table(table_of(headings, rows))


@click.command()
@json_option
@click.pass_obj
def catalog(service: Service, *, as_json: bool) -> None:
    """Show what specs may name on this service, and its limits."""
    from iplab.plain import to_plain  # noqa: PLC0415 - messages only after connecting
    from iplab.tables import print_table, table_of  # noqa: PLC0415 - as above

    with service.connect() as client:
        found = client.catalog()
    plain = to_plain(found)
    if as_json:
        print_json(plain)
        return
    states = {0: "not reported yet", 1: "available", 2: "unavailable"}
    headings = ["dataset", "inputs", "classes", "train", "test", "state", "description"]
    rows = [
        (
            d.name,
            d.input_dim,
            d.classes,
            d.train_size,
            d.test_size,
            states.get(d.state, "unknown"),
            d.description,
        )
        for d in found.datasets
    ]
    print_table(table_of(headings, rows))
    for d in found.datasets:
        if d.problem:
            click.echo(f"{d.name}: {d.problem}")
    for name in ("activations", "losses", "optimizers", "biases"):
        click.echo(f"{name}: {', '.join(getattr(found, name))}")
    limits = plain["limits"]
    if isinstance(limits, dict):
        click.echo("limits: " + ", ".join(f"{name} {value}" for name, value in limits.items()))
