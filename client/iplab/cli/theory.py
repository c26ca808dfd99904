"""`iplab parameterizations`: exact arithmetic in process, no service needed."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import click

from iplab.cli.app import json_option, print_json

if TYPE_CHECKING:
    from ipcore.theory import Parameterization


@click.command()
@click.option(
    "--hidden-layers", default=3, show_default=True, type=click.IntRange(1, 10_000), help="Depth L."
)
@json_option
def parameterizations(*, hidden_layers: int, as_json: bool) -> None:
    """List the published parameterizations, with their exponents at a depth.

    W^l = m^{-a_l} w^l; initial w^l ~ N(0, s_l^2 m^{-2 b_l}); learning rate of layer l: eta m^{-c_l}.
    """
    from ipcore.theory import PRESETS  # noqa: PLC0415 - only here
    from ipcore.theory.presets import presets_at  # noqa: PLC0415 - as above
    from iplab.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn

    found = [(PRESETS[name], exponents) for name, exponents in presets_at(hidden_layers).items()]
    if as_json:
        print_json(
            [
                {
                    "preset": known.name,
                    "description": known.description,
                    "source": known.source,
                    "untrainable_reason": known.untrainable_reason,
                    "hidden_layers": hidden_layers,
                    **exponents.to_dict(),
                }
                for known, exponents in found
            ]
        )
        return
    rows = [
        (
            known.name,
            "yes" if known.trainable else "no",
            _row(exponents.a),
            _row(exponents.b),
            _phases(exponents),
            known.description,
            known.source,
        )
        for known, exponents in found
    ]
    title = f"{hidden_layers} hidden layers; entries: first | hidden | last layer"
    print_table(table_of(["preset", "trains", "a", "b", "c", "description", "source"], rows, title))


def _phases(exponents: Parameterization) -> str:
    """Rates, with the steps at which they change."""
    if len(exponents.phases) == 1:
        return _row(exponents.phases[0].c)
    return "; ".join(f"from step {phase.start}: {_row(phase.c)}" for phase in exponents.phases)


def _row(exponents: tuple[Fraction, ...]) -> str:
    """Three entries (first | hidden | last) where all hidden matrices agree, else every layer."""
    first, *hidden, last = exponents
    middle = hidden[:1] if len(set(hidden)) == 1 else hidden
    return " | ".join(str(entry) for entry in (first, *middle, last))
