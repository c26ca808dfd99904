"""`iplab complete`: stable learning rates, in process."""

from __future__ import annotations

from collections.abc import Sequence

import click

from iplab.cli.app import json_option, print_json
from iplab.cli.theory_options import (
    entries,
    needed,
    normalization_option,
    only_preset,
    print_text,
    setting_options,
    theory_errors,
)


@click.command()
@setting_options
@click.option(
    "--kind",
    default="largest",
    show_default=True,
    help="largest: every layer changes as much as is stable; balanced: all by the same power of the width.",
)
@click.option("--pareto", is_flag=True, help="Show all stable rates of step 0, and Pareto points of them.")
@click.option(
    "--block-matrices",
    default=0,
    type=int,
    help="Matrices per residual block; only 0, no blocks, is covered: see analyze --block-matrices.",
)
@normalization_option
@json_option
def complete(
    *,
    kind: str,
    pareto: bool,
    block_matrices: int,
    normalization: str,
    preset: str,
    a: str,
    b: str,
    hidden_layers: int,
    optimizer: str,
    activation: str,
    loss: str,
    as_json: bool,
) -> None:
    """Find stable learning rates.

    For given multipliers and initial weights: the rates with which every layer changes as much as is
    stable, or all layers by the same.

    Either --preset (its own rates are not used) or --a and --b.
    """
    from ipcore import theory  # noqa: PLC0415 - only here

    decimals: Sequence[str] = ()
    with theory_errors():
        if preset:
            only_preset(a, b)
            given = theory.preset(preset, hidden_layers)
            found = theory.complete(
                given.a,
                given.b,
                kind=kind,
                pareto=pareto,
                optimizer=optimizer,
                activation=activation,
                loss=loss,
                biases=given.biases,
                mean=given.mean,
                reweightings=given.reweightings,
                block_matrices=block_matrices,
                normalization=normalization,
            )
        else:
            needed(a=a, b=b)
            lists = [entries(a), entries(b)]
            decimals = theory.decimal_notes(*lists)
            found = theory.complete(
                *lists,
                kind=kind,
                pareto=pareto,
                hidden_layers=hidden_layers,
                optimizer=optimizer,
                activation=activation,
                loss=loss,
                block_matrices=block_matrices,
                normalization=normalization,
            )
    if as_json:
        print_json({**found.to_dict(), "notes": list(decimals)})
        return
    print_text(preset, found, decimals)
