"""`iplab parameterizations`: exact arithmetic in process, no service needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import click

from iplab.cli.app import json_option, print_json
from iplab.display.terminal import echo, folded

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

    found = [(PRESETS[name], exponents) for name, exponents in presets_at(hidden_layers).items()]
    if as_json:
        print_json(
            [
                {
                    "preset": known.name,
                    "description": known.description,
                    "source": known.source,
                    "hidden_layers": hidden_layers,
                    **exponents.to_dict(),
                }
                for known, exponents in found
            ]
        )
        return
    entries = "first | hidden | last layer; layer by layer where hidden layers differ"
    echo(folded(f"{hidden_layers} hidden layers; exponents: {entries}"))
    for known, exponents in found:
        echo()
        echo(folded(f"{known.name}: {known.description}"))
        rates = _phases(exponents.phases)
        lines = [f"a = {_row(exponents.a)}", f"b = {_row(exponents.b)}", f"c = {rates}", *_beyond(exponents)]
        for line in (*lines, f"source: {known.source}"):
            echo(folded(line, indent=4))
    shown = {known.name for known, _ in found}
    for known in PRESETS.values():
        if known.name not in shown:
            text = f"not at this depth: {known.name} (L <= {known.largest_depth}): {known.description}"
            echo()
            echo(folded(text))


def _phases(phases: Sequence[RatePhase]) -> str:
    """Rates, with the steps at which they change."""
    if len(phases) == 1:
        return _row(phases[0].c)
    return "; ".join(f"from step {phase.start}: {_row(phase.c)}" for phase in phases)


def _beyond(exponents: Parameterization) -> Iterator[str]:
    """Further exponents of a parameterization, besides its weights' a, b and c."""
    if exponents.mean is not None:
        yield f"mean of w_0: m^-k, k = {_row(exponents.mean, 'centred')}"
    for later in exponents.reweightings:
        yield f"w_0 x m^-k from step {later.start}, k = {_row(later.k, 'removed')}"
    if exponents.biases is not None:
        own = exponents.biases
        yield f"biases: a = {_row(own.a)}, b = {_row(own.b)}"
        yield f"biases: c = {_phases(own.phases)}"


def _row(exponents: Sequence[Fraction | None], missing: str = "") -> str:
    """Three entries (first | hidden | last) where all hidden matrices agree, else folded layers."""
    from ipcore.theory import report  # noqa: PLC0415 - only here

    first, *hidden, last = exponents
    if len(set(hidden)) == 1:
        return " | ".join(missing if entry is None else str(entry) for entry in (first, hidden[0], last))
    return " | ".join(missing if text == "-" else text for text in report.folded(exponents))
