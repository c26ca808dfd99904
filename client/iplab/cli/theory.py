"""`iplab parameterizations`: exact arithmetic in process, no service needed."""

from __future__ import annotations

import click

from iplab.cli.app import json_option, print_json


@click.command()
@click.option(
    "--hidden-layers", default=3, show_default=True, type=click.IntRange(1, 10_000), help="Depth L."
)
@json_option
def parameterizations(*, hidden_layers: int, as_json: bool) -> None:
    """List the parameterizations that specs may name, with their exponents at a depth.

    W^l = m^{-a_l} w^l; initial w^l ~ N(0, s_l^2 m^{-2 b_l}); learning rate of layer l: eta m^{-c_l}.
    """
    from ipcore.theory import PRESETS, preset  # noqa: PLC0415 - only here
    from iplab.tables import print_table, table_of  # noqa: PLC0415 - rich only where something is drawn

    found = [(known, preset(name, hidden_layers)) for name, known in PRESETS.items()]
    if as_json:
        print_json(
            [
                {
                    "preset": known.name,
                    "description": known.description,
                    "source": known.source,
                    "hidden_layers": hidden_layers,
                    "a": [str(e) for e in exponents.a],
                    "b": [str(e) for e in exponents.b],
                    "phases": [{"start": p.start, "c": [str(e) for e in p.c]} for p in exponents.phases],
                }
                for known, exponents in found
            ]
        )
        return
    rows = [
        (
            known.name,
            _row(exponents.a),
            _row(exponents.b),
            "; ".join(f"from step {phase.start}: {_row(phase.c)}" for phase in exponents.phases)
            if len(exponents.phases) > 1
            else _row(exponents.phases[0].c),
            known.description,
            known.source,
        )
        for known, exponents in found
    ]
    title = f"{hidden_layers} hidden layers; entries: first | hidden | last layer"
    print_table(table_of(["preset", "a", "b", "c", "description", "source"], rows, title))


def _row(exponents: tuple[object, ...]) -> str:
    """Three entries (first | hidden | last) where all hidden matrices agree, else every layer."""
    first, *hidden, last = exponents
    middle = hidden[:1] if len(set(hidden)) == 1 else hidden
    return " | ".join(str(entry) for entry in (first, *middle, last))
