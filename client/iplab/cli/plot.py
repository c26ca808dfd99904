"""`iplab plot`: figures of an experiment."""

from __future__ import annotations

import click

from iplab.cli.app import Service, folded, json_option, note, print_json
from iplab.display.commands import Choice
from iplab.display.terminal import echo

# As `iplab.plotting.KINDS`, which loads numpy; a test compares them.
KINDS = (
    "coordinates",
    "rates",
    "curves",
    "isolated-updates",
    "drift",
    "calibrated-rates",
    "stationarity",
    "alignment-exponents",
    "limit",
    "ranks",
    "kernels",
    "alignment",
    "sizes",
    "changes",
)
_HELP = """Draw a figure of EXPERIMENT into a file, and print its caption.

\b
coordinates          sizes of layers and their changes against the width
rates                final loss against the base learning rate
curves               a metric over updates: mean and interval over seeds
isolated-updates     change by one layer's update alone, against the width
drift                the best base rate against the width
calibrated-rates     calibrated first rates against the width
stationarity         change of the output against the width
limit                distance of the outputs from those of infinite width
alignment-exponents  alignment of updates against the width
ranks, kernels, alignment, sizes, changes
                     a probe's quantity by layer, over updates
"""


@click.command(help=_HELP)
@click.argument("experiment")
@click.option(
    "--kind",
    type=Choice(KINDS),
    metavar="KIND",
    help="What is drawn.  [default: coordinates if recorded, rates if there are three, else curves]",
)
@click.option(
    "--by", multiple=True, metavar="AXIS", help="Axis of the grid with a line per value; may be repeated."
)
@click.option(
    "--metric", help='With curves: which metric ("train_loss"), or quantity of layers ("h_change").'
)
@click.option("--filter", "filter_", default="", help="Which runs, as in `iplab runs`.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    help="File: .svg, .png, .pdf, or .csv for the numbers.  [default: EXPERIMENT-KIND.svg]",
)
@json_option
@click.pass_obj
def plot(
    service: Service,
    experiment: str,
    *,
    kind: str | None,
    by: tuple[str, ...],
    metric: str | None,
    filter_: str,
    output: str | None,
    as_json: bool,
) -> None:
    """See _HELP."""
    from ipcore.figures import PictureError  # noqa: PLC0415 - numpy only where it is drawn
    from iplab.plotting import default_kind  # noqa: PLC0415 - as above

    with service.connect() as client:
        found = client.experiment(experiment)
        chosen = kind or ("curves" if metric else default_kind(found))
        file = output or f"{found.id}-{chosen}.svg"
        try:
            picture = found.plot(chosen, by, metric, filter_)
            picture.save(file)
        except (PictureError, ImportError) as error:
            raise click.ClickException(str(error)) from error  # the command was right: no "Usage"
    if as_json:
        print_json({"file": file, "kind": chosen, "caption": picture.caption, "rows": list(picture.rows())})
        return
    echo(folded(picture.caption))
    note(f"saved {file}")
