"""Tables for people, shared by the command line and the examples."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from iplab.summary import Spread, SummaryRow

# Wide enough for every table of ours: what is piped into a file or `less -S` is never cut.
_PIPED_WIDTH = 400


def print_table(table: Table) -> None:
    """To standard output; folded to the terminal's width only where there is a terminal."""
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console = Console(file=sys.stdout, width=_PIPED_WIDTH)
    console.print(table)


def table_of(headings: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """A plain table; columns of numbers are set to the right. None is shown as "-"."""
    listed = [list(row) for row in rows]
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for position, heading in enumerate(headings):
        column = [row[position] for row in listed]
        numbers = all(isinstance(value, int | float | Spread | None) for value in column)
        justify: Literal["right", "left"] = "right" if numbers and column else "left"
        table.add_column(heading, justify=justify)
    for row in listed:
        table.add_row(*[Text(_shown(value)) for value in row])
    return table


def summary_table(rows: Sequence[SummaryRow], title: str = "") -> Table:
    """Mean and sample standard deviation over seeds of the final test loss and accuracy.

    Columns in which nothing ever stands (no run diverged, say) are left out.
    """
    headings = ["parameterization", "hidden layers", "width", "activation", "base rate", "theory", "seeds"]
    headings += ["test loss", "test accuracy"]
    cells: list[list[object]] = [
        [
            row.parameterization,
            row.hidden_layers,
            row.width,
            row.activation,
            row.base_learning_rate,
            row.predicted_regime.words,
            row.runs,
            row.test_loss,
            row.test_accuracy,
        ]
        for row in rows
    ]
    for heading, values in (
        ("diverged", [row.diverged for row in rows]),
        ("unfinished", [row.unfinished for row in rows]),
    ):
        if any(values):
            headings.append(heading)
            for line, value in zip(cells, values, strict=True):
                line.append(value)
    return table_of(headings, cells, title)


def _shown(value: object) -> str:
    match value:
        case None:
            return "-"
        case Spread(mean=None):
            return "-"
        case Spread(mean=mean, sd=None):
            return f"{mean:.4f}"
        case Spread(mean=mean, sd=sd):
            return f"{mean:.4f} ± {sd:.4f}"
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)
