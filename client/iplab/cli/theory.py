"""`iplab parameterizations`: exact arithmetic in process, no service needed."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import click

from iplab.cli.app import json_option, print_json

if TYPE_CHECKING:
    from ipcore.theory import Parameterization, RatePhase


@click.command()
@click.option(
    "--hidden-layers", default=3, show_default=True, type=click.IntRange(1, 10_000), help="Depth L."
)
@json_option
def parameterizations(*, hidden_layers: int, as_json: bool) -> None:
    """List the published parameterizations.

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
            _phases(exponents.phases),
            _beyond(exponents),
            known.description,
            known.source,
        )
        for known, exponents in found
    ]
    headings = ["preset", "trains", "a", "b", "c", "beyond a, b, c", "description", "source"]
    title = f"{hidden_layers} hidden layers; entries: first | hidden | last layer"
    print_table(table_of(headings, rows, title))
    shown = {known.name for known, _ in found}
    for known in PRESETS.values():
        if known.name not in shown:
            click.echo(f"not at this depth: {known.name} (L <= {known.largest_depth}): {known.description}")


def _phases(phases: Sequence[RatePhase]) -> str:
    """Rates, with the steps at which they change."""
    if len(phases) == 1:
        return _row(phases[0].c)
    return "; ".join(f"from step {phase.start}: {_row(phase.c)}" for phase in phases)


def _beyond(exponents: Parameterization) -> str:
    """What a parameterization holds beside its weights' a, b and c."""
    texts = []
    if exponents.mean is not None:
        texts.append(f"mean of w_0: m^-k, k = {_row(exponents.mean, 'centred')}")
    texts += [
        f"w_0 x m^-k from step {later.start}, k = {_row(later.k, 'removed')}"
        for later in exponents.reweightings
    ]
    if exponents.biases is not None:
        own = exponents.biases
        texts.append(f"biases: a = {_row(own.a)}, b = {_row(own.b)}, c {_phases(own.phases)}")
    return "; ".join(texts)


def _row(exponents: Sequence[Fraction | None], missing: str = "") -> str:
    """Three entries (first | hidden | last) where all hidden matrices agree, else folded layers."""
    from ipcore.theory.report import folded  # noqa: PLC0415 - only here

    first, *hidden, last = exponents
    if len(set(hidden)) == 1:
        return " | ".join(missing if entry is None else str(entry) for entry in (first, hidden[0], last))
    return " | ".join(missing if text == "-" else text for text in folded(exponents))
