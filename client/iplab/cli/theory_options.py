"""Options and errors of the commands on theory, and the parameterization that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ipcore.catalogue import ACTIVATIONS, ANALYSED_OPTIMIZERS, LOSSES
from iplab.display.terminal import echo, folded

if TYPE_CHECKING:
    from ipcore.theory import Analysis, Completion, Parameterization

_COVERED_LOSSES = ", ".join(name for name, entry in LOSSES.items() if entry.derivative)
_COVERED_ACTIVATIONS = ", ".join(name for name, entry in ACTIVATIONS.items() if entry.behaviour)
Command = TypeVar("Command", bound=Callable[..., Any])


def setting_options(command: Command) -> Command:
    """Add the options that all commands on theory have."""
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


normalization_option = click.option(
    "--normalization",
    default="none",
    show_default=True,
    help="rms: preactivations are divided by their root mean square before they enter the activation.",
)


def given_parameterization(
    preset: str, lists: Sequence[str], hidden_layers: int, optimizer: str
) -> tuple[Parameterization, Sequence[str]]:
    """A preset, or the exponents of the options a, b, c, c-first-step, d, d-first-step.

    Returns:
        The parameterization, and notes on decimals that look like rounded fractions.
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
    """Require lists of exponents, if there is no preset."""
    missing = [f"--{name}" for name, text in lists.items() if not text]
    if missing:
        raise click.UsageError(f"give --preset, or exponents; missing: {', '.join(missing)}")


def only_preset(*lists: str) -> None:
    """Refuse lists of exponents beside a preset."""
    if any(lists):
        raise click.UsageError("--preset has its own exponents; give it or --a, --b, --c, not both")


def entries(text: str) -> list[str]:
    """The exponents of an option: texts between commas."""
    return [entry.strip() for entry in text.split(",")] if text else []


def print_text(preset: str, found: Analysis | Completion, decimals: Sequence[str]) -> None:
    """Print what theory says, folded on a terminal, then notes on decimals."""
    for line in f"{preset or 'custom'}, {found}".splitlines():
        text = line.lstrip()
        echo(folded(text, indent=len(line) - len(text)))
    for note in decimals:
        echo(folded(f"note: {note}"))
