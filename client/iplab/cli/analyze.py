"""`iplab analyze`: analysis of a parameterization, in process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from iplab.cli.app import json_option, print_json
from iplab.cli.theory_options import (
    entries,
    given_parameterization,
    normalization_option,
    print_text,
    setting_options,
    theory_errors,
)
from iplab.display.terminal import echo, folded
from iplab.results.states import Regime

if TYPE_CHECKING:
    from ipcore.theory import Alignment


@click.command()
@setting_options
@click.option("--c", default="", help="Learning rates, as --a; from step 1 on with --c-first-step.")
@click.option("--c-first-step", default="", help="Learning rates of step 0, as --a.")
@click.option(
    "--d", default="", help="Adam: epsilon is eps m^(-d); as --a, from step 1 on with --d-first-step."
)
@click.option("--d-first-step", default="", help="Epsilon exponents of step 0, as --a.")
@click.option(
    "--calibrated", is_flag=True, help="First rates are calibrated: the base rate does not multiply them."
)
@click.option(
    "--epsilon",
    default="",
    help="Adam: negligible or dominating, as at the widths of an experiment; one, or L+1 separated by "
    "commas. Default: as d says in the limit.",
)
@click.option(
    "--alignment",
    default="",
    help="full or none, the assumptions of Everett et al.; or theta of the matrices 2 .. L+1, each between "
    "1/2 and 1: one, or L separated by commas. Default: as the calculus derives it.",
)
@click.option(
    "--alignment-backward",
    default="",
    help="theta' of the matrices 2 .. L, as --alignment. Default: 1.",
)
@click.option(
    "--alignment-initial",
    default="",
    help="omega of the matrices 2 .. L+1, as --alignment. Default: 1/2, at the readout 1.",
)
@click.option(
    "--block-matrices",
    default=0,
    type=int,
    help="Residual blocks of 1 or 2 matrices; --hidden-layers is then one less than all matrices.",
)
@normalization_option
@click.option("--steps", default=None, type=int, help="Updates to show. Default: until nothing changes.")
@json_option
def analyze(
    *,
    preset: str,
    a: str,
    b: str,
    c: str,
    c_first_step: str,
    d: str,
    d_first_step: str,
    epsilon: str,
    alignment: str,
    alignment_backward: str,
    alignment_initial: str,
    block_matrices: int,
    normalization: str,
    hidden_layers: int,
    optimizer: str,
    activation: str,
    loss: str,
    calibrated: bool,
    steps: int | None,
    as_json: bool,
) -> None:
    """Analyze a parameterization.

    As the width grows: its regime, sizes of every layer, and why.

    Either --preset (with its exponents for the optimizer) or the exponents --a, --b, --c ("1", "-5/2", "0.5";
    separated by commas).
    Biases with exponents of their own, weights with a mean and re-weighted initial matrices beyond the
    presets: in Python, ipcore.theory.Parameterization.
    """
    from ipcore import theory  # noqa: PLC0415 - only here

    with theory_errors():
        lists = (a, b, c, c_first_step, d, d_first_step)
        parameterization, decimals = given_parameterization(preset, lists, hidden_layers, optimizer)
        choices = [entry.strip() for entry in epsilon.split(",")] if epsilon else []
        found = theory.analyze(
            parameterization,
            optimizer=optimizer,
            activation=activation,
            loss=loss,
            steps=steps,
            epsilon=choices[0] if len(choices) == 1 else choices or None,
            alignment=_alignment(alignment, alignment_backward, alignment_initial, hidden_layers),
            block_matrices=block_matrices,
            normalization=normalization,
        )
        rate = theory.largest_rate_of(found, calibrated=calibrated)
    if isinstance(rate, str):
        decimals = [*decimals, rate]
    if as_json:
        said = None if isinstance(rate, str) else rate.to_dict()
        print_json({**found.to_dict(), "largest_rate": said, "notes": [*found.notes, *decimals]})
        return
    print_text(preset, found, decimals)
    regime = Regime.read(found.regime.name)
    echo(folded(f"{found.regime.value.replace('_', ' ')} means: {regime.meaning}"))
    if not isinstance(rate, str):
        echo(folded(f"base rate: {rate}"))


def _alignment(forward: str, backward: str, initial: str, hidden_layers: int) -> str | Alignment | None:
    from ipcore import theory  # noqa: PLC0415 - only here

    if not (forward or backward or initial):
        return None
    if forward.isalpha() and not (backward or initial):
        return forward
    rows = {"forward": forward, "backward": backward, "initial": initial}
    lists = {name: entries(row) for name, row in rows.items() if row}
    return theory.Alignment.of(
        hidden_layers, **{name: row[0] if len(row) == 1 else row for name, row in lists.items()}
    )
