"""`iplab metrics` and `iplab weights`."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING

import click

from ipcore.catalogue.widths import plain_width
from iplab.cli.app import Service, json_option, no_match, note, print_json, print_json_list, run_reference
from iplab.display.terminal import echo, folded
from iplab.results.numbers import counted
from iplab.results.settings import AXES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iplab.results.metrics import Metrics

_COLUMNS = ("run", *AXES, "metric", "step", "time", "value")


@click.command()
@click.argument("experiment")
@click.option("--filter", "filter_", default="", help="Which runs, as in `iplab runs`.")
@click.option(
    "--metric",
    "names",
    multiple=True,
    help='Only this metric ("h_change/*": all its layers); may be repeated.',
)
@click.option("--first-step", default=0, type=click.IntRange(0), help="Only points from this step on.")
@click.option("--last-step", default=0, type=click.IntRange(0), help="Only points up to this step; 0: all.")
@click.option("--limit", default=None, type=click.IntRange(1), help="At most so many points.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
@click.pass_obj
def metrics(
    service: Service,
    experiment: str,
    *,
    filter_: str,
    names: tuple[str, ...],
    first_step: int,
    last_step: int,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print the metric points of EXPERIMENT.

    By run, metric and step. CSV and JSON have all settings of each run and the time; the table has the
    settings in which runs differ.
    """
    from iplab.display.tables import points_table, print_table  # noqa: PLC0415 - rich only where it draws

    if as_csv and as_json:
        raise click.UsageError("give --csv or --json, not both")
    with service.connect() as client:
        one = client.experiment(experiment)
        found = one.metrics(filter_, names, first_step, last_step)
        if not len(found):
            why = one.unmatched(filter_) if filter_ else ""
            note(no_match("runs", why) if why else "there are no points yet")
    rows = islice(_rows(found), limit)
    if as_json:
        print_json_list(dict(zip(_COLUMNS, row, strict=True)) for row in rows)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(rows)
    elif len(found):
        print_table(points_table([dict(zip(_COLUMNS, row, strict=True)) for row in rows]))
    if limit is not None and limit < len(found):
        note(f"the first {counted(limit, 'point')} of {len(found)}; more by --limit")


def _rows(found: Metrics) -> Iterator[tuple[object, ...]]:
    """A row per point; its columns are those of `Metrics.to_pandas`."""
    settings = {
        run: tuple(plain_width(value) if name == "width" else value for name, value in asdict(one).items())
        for run, one in found.settings.items()
    }
    columns = (found.run, found.metric, found.step, found.time, found.value)
    for run, metric, step, time, value in zip(*columns, strict=True):
        yield int(run), *settings[int(run)], found.names[metric], int(step), f"{time}Z", float(value)


@click.command()
@click.argument("experiment")
@click.argument("run")
@click.option(
    "--which", default="final", show_default=True, help="final, initial, or the step they were kept at."
)
@click.option(
    "-o", "--output", type=click.Path(), help="Save the safetensors file there (a file or a folder)."
)
@click.option("--force", is_flag=True, help="With --output: replace an existing file.")
@json_option
@click.pass_obj
def weights(
    service: Service, experiment: str, run: str, *, which: str, output: str | None, force: bool, as_json: bool
) -> None:
    """Show or save the weights of a RUN.

    RUN is an index or id. The file's checksum is verified in both cases.
    """
    from iplab.display.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn
    from iplab.results.weights import parse_weights  # noqa: PLC0415 - numpy only where arrays are wanted

    with service.connect() as client:
        found = client.experiment(experiment).run(run_reference(run))
        artifact = found.weights_artifact(int(which) if which.isdecimal() else which)
        if output is not None:
            try:
                saved = found.download(artifact, output, overwrite=force)
            except FileExistsError as error:
                raise click.UsageError(f"{error.filename} exists already; --force replaces it") from error
            if as_json:
                from iplab.specs.plain import time_text  # noqa: PLC0415 - messages only after connecting

                plain = asdict(artifact) | {"create_time": time_text(artifact.create_time)}
                print_json(plain | {"file": str(saved)})
            else:
                echo(str(saved))
            return
        loaded = parse_weights(found.read(artifact))
    headings = ["name", "shape", "dtype", "mean", "sd"]
    rows = [
        (name, list(array.shape), str(array.dtype), float(array.mean()), float(array.std()))
        for name, array in loaded.arrays.items()
    ]
    if as_json:
        arrays = [dict(zip(headings, row, strict=True)) for row in rows]
        print_json({"artifact": artifact.path, "arrays": arrays, "metadata": loaded.metadata})
        return
    print_table(table_of(headings, rows))
    for key, value in sorted(loaded.metadata.items()):
        echo(folded(f"{key}: {value}"))
