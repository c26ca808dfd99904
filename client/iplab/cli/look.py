"""`iplab list`, `show` and `runs`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import click

from iplab.cli.app import Service, json_option, no_match, note, print_json, print_json_list, run_reference
from iplab.cli.edit import deletion
from iplab.cli.results import brief, headline, print_results
from iplab.display.sorting import in_order, order_by
from iplab.display.terminal import echo, folded, visible
from iplab.results.numbers import SETTING_DIGITS, counted, number
from iplab.results.states import ExperimentState

if TYPE_CHECKING:
    from datetime import datetime

    from iplab.results.best import BestRate
    from iplab.results.experiment import Experiment
    from iplab.results.run import Run
    from iplab.results.run_view import Attempt
    from iplab.results.summary import SummaryRow

Row = TypeVar("Row")
_SORT = "Columns to sort by, separated by commas; -COLUMN: largest first"


@click.command("list")
@click.option("--filter", "filter_", default="", help="As 'state = RUNNING AND labels.team = \"theory\"'.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--deleted", is_flag=True, help="Also deleted ones that are not purged yet.")
@json_option
@click.pass_obj
def list_experiments(service: Service, *, filter_: str, limit: int, deleted: bool, as_json: bool) -> None:
    """List experiments, newest first."""
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn

    with service.connect() as client:
        found = list(client.experiments(filter_, limit=limit + 1, show_deleted=deleted))
        more, found = len(found) > limit, found[:limit]
        why = client.unmatched(filter_) if filter_ and not found else ""
    if as_json:
        print_json([experiment.to_dict() for experiment in found])
        return
    if not found:
        note(no_match("experiments", why) if filter_ else "there are no experiments yet")
        return
    rows = [
        (
            experiment.id,
            experiment.outcome + (" (deleted)" if experiment.delete_time else ""),
            experiment.counts.total,
            _share(experiment),
            f"{experiment.create_time:%Y-%m-%d %H:%M}",
            experiment.display_name,
        )
        for experiment in found
    ]
    headings = ["experiment", "state", "runs", "done", "created (UTC)", "name"]
    print_table(table_of(headings, rows, folding=(), cutting={"name"}))
    if more:
        note(f"the newest {limit}; there are more: --limit, --filter")


def _share(experiment: Experiment) -> str:
    """Progress as text. Runs that diverge end early, so their remaining steps are never done."""
    if experiment.state is ExperimentState.SUCCEEDED:
        return "100 %"
    return f"{100 * experiment.committed_steps / max(experiment.total_steps, 1):.0f} %"


@click.command()
@click.argument("experiment")
@click.argument("run", required=False)
@click.option("--filter", "filter_", default="", help="Results of these runs only, as in `iplab runs`.")
@click.option("--sort", default="", help=f"{_SORT}; as -test_accuracy or 'width,label'.")
@click.option("--limit", default=None, type=click.IntRange(1), help="At most so many rows.")
@click.option(
    "--best",
    is_flag=True,
    help="Only the best base learning rate of each parameterization, depth, width and activation, chosen "
    "on the validation set if there is one.",
)
@json_option
@click.pass_obj
def show(
    service: Service,
    experiment: str,
    run: str | None,
    *,
    filter_: str,
    sort: str,
    limit: int | None,
    best: bool,
    as_json: bool,
) -> None:
    """Show EXPERIMENT with its results, or one RUN of it.

    Of an experiment: state, warnings, and final results (mean and sample sd over seeds). Of a run (index or
    id): settings, metrics, every attempt, and why it failed, with the worker's traceback and log.
    """
    with service.connect() as client:
        found = client.experiment(experiment)
        if run is not None:
            if filter_ or sort or limit or best:
                raise click.UsageError(
                    "--filter, --sort, --limit and --best apply to an experiment, not to a run"
                )
            one = found.run(run_reference(run))
            if as_json:
                print_json(one.to_dict())
            else:
                print_run(one)
            return
        rows = _ordered(found.summary(filter_), "" if best else sort)
        why = found.unmatched(filter_) if filter_ and not rows else ""
        chosen = _best_ordered(found.best_rates(filter_), sort) if best else None
        none = not rows
        total, rows, chosen = len(chosen or rows), rows[:limit], chosen and chosen[:limit]
        if as_json:
            more = {} if chosen is None else {"best": [asdict(row) for row in chosen]}
            print_json({**found.to_dict(), "summary": [row.to_dict() for row in rows], **more})
        else:
            print_experiment(found, rows, chosen)
            _say_cut(len(chosen or rows), total)
        if filter_ and none:
            note(no_match("runs", why))


def _ordered(rows: Sequence[Row], sort: str) -> list[Row]:
    known = [entry.name for entry in fields(rows[0])] if rows else []  # type: ignore[arg-type] # dataclasses
    return in_order(rows, sort if rows else "", known, getattr)


def _best_ordered(rows: Sequence[BestRate], sort: str) -> list[BestRate]:
    """As `_ordered`; the criterion by which rates were chosen is a column of its own name."""
    if not rows:
        return []
    criterion = rows[0].criterion
    known = [entry.name for entry in fields(rows[0]) if not entry.name.startswith("criterion")]

    def value(row: BestRate, name: str) -> object:
        return row.criterion_value if name == criterion else getattr(row, name)

    return in_order(rows, sort, dict.fromkeys([*known, criterion]), value)


def _say_cut(shown: int, total: int) -> None:
    if shown < total:
        note(f"the first {shown} of {total} rows; more by --limit")


def print_experiment(
    experiment: Experiment, rows: Sequence[SummaryRow], best: Sequence[BestRate] | None = None
) -> None:
    """Print state, counts, warnings and the results table."""
    echo(headline(experiment))
    if experiment.display_name:
        echo(folded(experiment.display_name))
    if experiment.delete_time is not None:
        echo(f"it {deletion(experiment)}")
    for line in experiment.notes.splitlines():
        echo(folded(line))
    if not experiment.state.terminal:
        echo(f"{experiment.committed_steps} of {experiment.total_steps} steps")
    if (place := experiment.queue_place) is not None:
        begins = place.expected_start_time
        when = f"; it is likely to start about {begins:%Y-%m-%d %H:%M} UTC" if begins else ""
        packs = "1 pack is" if place.packs_before == 1 else f"{place.packs_before} packs are"
        echo(f"{packs} likely to start before it{when}")
    if experiment.mlflow_pending_runs:
        echo(f"MLflow does not hold {counted(experiment.mlflow_pending_runs, 'run')} in full yet")
    for warning in experiment.warnings:
        echo(folded(f"warning: {brief(warning, 'more: --json')}"))
    print_results(experiment, rows, best)
    # Many runs often fail for the same reason. One run per reason is shown; `runs --json` has all.
    reasons: dict[str, Run] = {}
    for failed in experiment.runs("state = FAILED"):
        if failed.failure:
            reasons.setdefault(failed.failure.message, failed)
    for message, failed in reasons.items():
        echo(folded(f"{failed.id} failed: {message} (more: iplab show {experiment.id} {failed.id})"))


def print_run(run: Run) -> None:
    """Print state, settings, metrics, attempts, and the whole failure."""
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - as above
    from iplab.results.summary import label  # noqa: PLC0415 - as above

    echo(f"{run.id} is {run.state}: {run.committed_steps} of {run.steps} steps")
    rate = number(run.base_learning_rate, SETTING_DIGITS)
    settings = (
        f"{run.parameterization}, {run.hidden_layers} hidden layers, width {run.width}, {run.activation}, "
        f"base learning rate {rate}, seed {run.seed}; predicted regime: {run.predicted_regime.words} "
        f"({run.predicted_regime.meaning})"
    )
    echo(folded(settings))
    if run.calibrated_rates:
        rates = ", ".join(number(rate) for rate in run.calibrated_rates)
        echo(folded(f"calibrated rates of step 0: {rates}"))
    results = run.results
    results["diverged_step"] = results.pop("diverged_step")  # moved to the end
    for name, value in results.items():
        if value is not None:
            echo(f"{label(name)}: {number(value, SETTING_DIGITS)}")
    attempts = [
        (a.number, a.first_step, _clock(a.start_time), _clock(a.end_time), _ending(a)) for a in run.attempts
    ]
    if attempts:
        echo()
        headings = ["attempt", "from step", "started (UTC)", "ended (UTC)", "ended by"]
        print_table(table_of(headings, attempts, folding=()))
    if run.failure:
        echo()
        echo(folded(f"failed, {run.failure.reason}: {run.failure.message}"))
        if run.failure.traceback:
            echo(visible(run.failure.traceback.rstrip()))
        if run.failure.log_tail:
            echo(visible(f"last lines of the worker's log:\n{run.failure.log_tail.rstrip()}"))


def _ending(attempt: Attempt) -> str:
    """The end of an attempt, or that it is still running."""
    if attempt.end_time is None:
        return "still training"
    return attempt.end_reason or "finished its part"


def _clock(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


@click.command()
@click.argument("experiment")
@click.option(
    "--filter",
    "filter_",
    default="",
    help="As 'parameterization = ip AND (width >= 128 OR NOT state = DIVERGED)'.",
)
@click.option("--sort", default="", help=f"{_SORT}; as -final_test_accuracy or 'width,seed'.")
@click.option("--columns", default="", help="Only these columns, as run,width,seed,test_accuracy.")
@click.option("--limit", default=None, type=click.IntRange(1), help="At most so many.")
@json_option
@click.pass_obj
def runs(
    service: Service,
    experiment: str,
    *,
    filter_: str,
    sort: str,
    columns: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the runs of EXPERIMENT by index.

    Settings that all runs share are in the title. `iplab show EXPERIMENT RUN` has the attempts of a run.
    """
    from iplab.display.tables import chosen_table, print_table, runs_table  # noqa: PLC0415 - as above

    if columns and as_json:
        raise click.UsageError("--columns is about the table; --json has every value")
    with service.connect() as client:
        one = client.experiment(experiment)
        listed: Iterable[Run] = one.runs(filter_, order_by(sort))
        if as_json:
            # A listing does not read the attempts, so it cannot say that there are none.
            shown = (run.to_dict() for run in islice(listed, limit))
            print_json_list({k: v for k, v in run.items() if k != "attempts"} for run in shown)
            return
        found = list(islice(listed, limit and limit + 1))
        why = "" if found else one.unmatched(filter_)
    if not found:
        note(no_match("runs", why))
    else:
        cut = limit is not None and len(found) > limit
        of_all = "" if filter_ else f" of {one.counts.total}"
        first = "the first" if limit == 1 else f"the first {limit}"
        noun = "run" if limit == 1 and filter_ else "runs"
        title = f"{first}{of_all} {noun}" if cut else ""
        shown_runs = found[:limit]
        print_table(chosen_table(shown_runs, columns, title) if columns else runs_table(shown_runs, title))
