"""`iplab analyze` and `iplab complete`: what theory says, in process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ipcore.catalogue import ACTIVATIONS, ANALYSED_OPTIMIZERS, LOSSES
from iplab.cli.app import json_option, print_json
from iplab.display.terminal import folded
from iplab.results.states import Regime

if TYPE_CHECKING:
    from ipcore.theory import Alignment, Analysis, Completion, Parameterization

_COVERED_LOSSES = ", ".join(name for name, entry in LOSSES.items() if entry.derivative)
_COVERED_ACTIVATIONS = ", ".join(name for name, entry in ACTIVATIONS.items() if entry.behaviour)
Command = TypeVar("Command", bound=Callable[..., Any])


def setting_options(command: Command) -> Command:
    """Options of every command that asks the theory."""
    for option in (
        click.option("--loss", default="cross_entropy", show_default=True, help=f"One of {_COVERED_LOSSES}."),
        click.option(
            "--activation", default="relu", show_default=True, help=f"One of {_COVERED_ACTIVATIONS}, relu^p."
        ),
        click.option(
            "--optimizer", default="sgd", show_default=True, help=f"One of {', '.join(ANALYSED_OPTIMIZERS)}."
        ),
        click.option(
            "--hidden-layers",
            default=3,
            show_default=True,
            type=int,
            help="Depth L, from 1; analyze takes up to 1,000, complete up to 10,000.",
        ),
        click.option("--b", default="", help="Initial standard deviations, as --a."),
        click.option("--a", default="", help='Multipliers: "0,1,1" (first, hidden, last) or L+1 entries.'),
        click.option("--preset", default="", help="A name that `iplab parameterizations` lists."),
    ):
        command = option(command)
    return command


_normalization_option = click.option(
    "--normalization",
    default="none",
    show_default=True,
    help="rms: preactivations are divided by their root mean square before they enter the activation.",
)


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
@_normalization_option
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
    """Say what a parameterization does.

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
    _print_text(preset, found, decimals)
    regime = Regime.read(found.regime.name)
    click.echo(folded(f"{found.regime.value.replace('_', ' ')} means: {regime.meaning}"))
    if not isinstance(rate, str):
        click.echo(folded(f"base rate: {rate}"))


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
@_normalization_option
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
    _print_text(preset, found, decimals)


def given_parameterization(
    preset: str, lists: Sequence[str], hidden_layers: int, optimizer: str
) -> tuple[Parameterization, Sequence[str]]:
    """A preset, or the exponents of the options a, b, c, c-first-step, d, d-first-step.

    Returns:
        The parameterization, and what to say of decimals that look like rounded fractions.
    """
    from ipcore import theory  # noqa: PLC0415 - only here

    if preset:
        only_preset(*lists)
        return theory.preset(preset, hidden_layers, optimizer=optimizer), ()
    needed(a=lists[0], b=lists[1], c=lists[2])
    read = [entries(text) for text in lists]
    return theory.custom(hidden_layers, *read), theory.decimal_notes(*read)


@contextmanager
def theory_errors() -> Iterator[None]:
    """Report an error of the theory as wrong usage: exit code 2, with the option's name."""
    from ipcore.theory import TheoryError  # noqa: PLC0415 - only here

    try:
        yield
    except TheoryError as error:
        raise click.UsageError(str(error)) from error


def needed(**lists: str) -> None:
    """Lists of exponents that must be given where no preset is."""
    missing = [f"--{name}" for name, text in lists.items() if not text]
    if missing:
        raise click.UsageError(f"give --preset, or exponents; missing: {', '.join(missing)}")


def only_preset(*lists: str) -> None:
    """A preset leaves no place for lists of exponents."""
    if any(lists):
        raise click.UsageError("--preset brings its own exponents; give it or --a, --b, --c, not both")


def entries(text: str) -> list[str]:
    """The exponents of an option: texts between commas."""
    return [entry.strip() for entry in text.split(",")] if text else []


def _print_text(preset: str, found: Analysis | Completion, decimals: Sequence[str]) -> None:
    for line in f"{preset or 'custom'}, {found}".splitlines():
        text = line.lstrip()
        click.echo(folded(text, indent=len(line) - len(text)))
    for note in decimals:
        click.echo(folded(f"note: {note}"))
