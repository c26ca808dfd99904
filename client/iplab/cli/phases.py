"""`iplab phases`: an exact map of the regimes for all values of two exponents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from iplab.cli.app import json_option, print_json
from iplab.cli.theory_options import given_parameterization, setting_options, theory_errors
from iplab.display.terminal import echo, folded

if TYPE_CHECKING:
    from ipcore.theory import Phases


@click.command()
@click.option(
    "--free",
    multiple=True,
    metavar="NAME=LOW:HIGH",
    help="A free exponent and its range; give two, x and y: c=-2:1, b_last=0:3/2, a_hidden=..., c_2=..., "
    "c_first_step_hidden=...",
)
@setting_options
@click.option("--c", default="", help="Learning rates, as --a; from step 1 on with --c-first-step.")
@click.option("--c-first-step", default="", help="Learning rates of step 0, as --a.")
@click.option("--d", default="", help="Adam: epsilon is eps m^(-d); as --a.")
@click.option("--d-first-step", default="", help="Epsilon exponents of step 0, as --a.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Save a picture (.svg, .png, .pdf) of the map.")
@json_option
def phases(
    *,
    free: tuple[str, ...],
    preset: str,
    a: str,
    b: str,
    c: str,
    c_first_step: str,
    d: str,
    d_first_step: str,
    hidden_layers: int,
    optimizer: str,
    activation: str,
    loss: str,
    plot: str | None,
    as_json: bool,
) -> None:
    """Map the regimes over two free exponents.

    The map is exact: areas with their corners, and lines and points whose regime differs from their
    neighbourhood.

    The other exponents are those of --preset, or of --a, --b, --c; what these say of the free ones does not
    matter. A free exponent is a, b, c or d of all layers at once ("c"), or of one ("a_last", "b_hidden",
    "c_first", "c_2"); "c_first_step" and "c_first_step_last" are the rates of step 0. At most 20 hidden
    layers.
    """
    from ipcore import theory  # noqa: PLC0415 - only here

    with theory_errors():
        lists = (a, b, c, c_first_step, d, d_first_step)
        ranges = _ranges(free)
        parameterization, decimals = given_parameterization(preset, lists, hidden_layers, optimizer)
        found = theory.phases(parameterization, ranges, optimizer=optimizer, activation=activation, loss=loss)
        decimals = (*decimals, *theory.decimal_notes(*ranges.values()))
    if plot:
        _plot(found, preset, plot)
    if as_json:
        print_json({**found.to_dict(), "notes": list(decimals)})
        return
    for line in f"{preset or 'custom'}, {found}".splitlines():
        text = line.lstrip()
        echo(folded(text, indent=len(line) - len(text)))
    for text in decimals:
        echo(folded(f"note: {text}"))


def _ranges(free: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    from ipcore.theory.errors import shown  # noqa: PLC0415 - only here

    ranges: dict[str, tuple[str, str]] = {}
    for text in free:
        name, equals, ends = text.partition("=")
        low, colon, high = ends.partition(":")
        if not (name and equals and colon):
            raise click.UsageError(f"--free {shown(text)}: write NAME=LOW:HIGH, as c=-2:1")
        if name in ranges:
            raise click.UsageError(f"--free {shown(name)}=...: given twice")
        ranges[name] = (low, high)
    return ranges


def _plot(found: Phases, preset: str, file: str) -> None:
    from ipcore.figures import PhaseDiagram, PictureError  # noqa: PLC0415 - numpy only where it is drawn

    try:
        PhaseDiagram(found, preset).save(file)
    except (PictureError, ImportError) as error:
        raise click.UsageError(f"--plot: {error}") from error
    echo(f"saved {file}", err=True)
