"""Tables for people, shared by the command line and the examples.

Numbers, ids and states are never cut: on a narrow terminal headings wrap first, then columns move together,
then labels fold, then a mean and its deviation go on two lines; what does not fit even so is left to the
terminal to wrap.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from iplab.numbers import SETTING_DIGITS, number
from iplab.summary import Spread, SummaryRow, averaged, label

if TYPE_CHECKING:
    from iplab.run import Run

# Wide enough for every table of ours: what is piped into a file or `less -S` is never cut.
_PIPED_WIDTH = 400
# Between columns: a space, with another on each side of it where there is room.
_WIDE_GAP, _NARROW_GAP = 3, 1
# Labels up to the first are left whole where the columns can move together; then they fold to the second.
_FOLDED_WIDTH, _LEAST_WIDTH = 20, 8

# Values of a run's summary that stand in its table.
_RESULTS = ("last_train_loss", *averaged().values())

# Heading, how it is said of all rows at once ("": always a column), values.
Setting = tuple[str, str, list[object]]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the caller: rich would end the program with exit code 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def print_table(table: Table) -> None:
    """To standard output; fitted to the terminal's width only where there is a terminal."""
    console = _Console(file=sys.stdout)
    width = console.width if console.is_terminal else _PIPED_WIDTH
    console = _Console(file=sys.stdout, width=max(width, fit(table, width)))
    if table.title:  # a narrow table would wrap its own title
        console.print(Text(str(table.title)))
        table.title = None
    console.print(table)


def fit(table: Table, width: int) -> int:
    """Set the widths of a table of `table_of` so that it takes at most `width`; returns what it takes."""
    least = [column.min_width or 1 for column in table.columns]
    gap = _WIDE_GAP
    if sum(least) + gap * (len(least) - 1) > width:
        gap, table.padding = _NARROW_GAP, (0, 0)
    room = width - gap * (len(least) - 1)
    widths = [column.max_width or 1 for column in table.columns]
    for floor in zip(*(_floors(column) for column in table.columns), strict=True):
        while sum(widths) > room and (larger := [i for i, w in enumerate(widths) if w > floor[i]]):
            widths[max(larger, key=widths.__getitem__)] -= 1
    for column, chosen in zip(table.columns, widths, strict=True):
        column.width = chosen
    return sum(widths) + gap * (len(widths) - 1)


def _floors(column: Column) -> tuple[int, int, int, int]:
    """Its least width: together with the others, labels by words, labels folded, spreads on two lines."""
    least, full = column.min_width or 1, column.max_width or 1
    if column.overflow != "fold":
        return least, least, least, least
    if column.justify == "right":
        return full, full, full, least
    narrow = min(least, _LEAST_WIDTH)
    return full, least, narrow, narrow


def table_of(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str = "",
    folding: Collection[str] | None = None,
) -> Table:
    """A plain table; columns of numbers are set to the right. None is shown as "-".

    Args:
        headings: One per column.
        rows: Their cells.
        title: Above the table.
        folding: Headings of the columns whose cells may be folded; None: all but numbers.
    """
    listed = [list(row) for row in rows]
    columns = []
    for position, heading in enumerate(headings):
        column = [row[position] for row in listed]
        numbers = bool(column) and all(isinstance(value, int | float | Spread | None) for value in column)
        spreads = any(isinstance(value, Spread) for value in column)
        may_fold = spreads or (not numbers if folding is None else heading in folding)
        columns.append(_column(heading, [_shown(v) for v in column], numbers=numbers, folds=may_fold))
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.title, table.title_justify, table.title_style = title or None, "left", ""
    for row in listed:
        table.add_row(*[Text(_shown(value)) for value in row])
    return table


def summary_table(rows: Sequence[SummaryRow], title: str = "") -> Table:
    """Mean and sample standard deviation over seeds of the final test loss and accuracy.

    Settings that all rows share stand in the title; columns in which nothing ever stands (no run diverged,
    say) are left out.
    """
    settings: list[Setting] = [
        ("label", "", [row.parameterization for row in rows]),
        ("L", "L={}", [row.hidden_layers for row in rows]),
        ("width", "width {}", [row.width for row in rows]),
        ("act", "{}", [row.activation for row in rows]),
        ("base rate", "base rate {}", [row.base_learning_rate for row in rows]),
        ("theory", "theory: {}", [row.predicted_regime.words for row in rows]),
        ("seeds", "seeds: {}", [row.runs for row in rows]),
    ]
    results = _results([row.spreads() for row in rows]) | {
        "diverged": [row.diverged or None for row in rows],
        "no result": [row.unfinished or None for row in rows],
    }
    return _settings_and_results(settings, results, title)


def runs_table(runs: Sequence[Run]) -> Table:
    """One row per run; what all of them share stands in the title."""
    settings: list[Setting] = [
        ("run", "", [run.id for run in runs]),
        ("state", "all {}", [str(run.state) for run in runs]),
        ("label", "", [run.parameterization for run in runs]),
        ("L", "L={}", [run.hidden_layers for run in runs]),
        ("width", "width {}", [run.width for run in runs]),
        ("act", "{}", [run.activation for run in runs]),
        ("base rate", "base rate {}", [run.base_learning_rate for run in runs]),
        ("seed", "seed {}", [run.seed for run in runs]),
        ("step", "step {}", [run.committed_steps for run in runs]),
    ]
    found = [run.results for run in runs]
    measured = [{name: _measured(results[name]) for name in _RESULTS} for results in found]
    return _settings_and_results(settings, _results(measured))


def _results(rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """Columns of values of runs' summaries, by heading.

    With a validation set: what was best by it, beside what was last, of one metric; `--json` has both.
    Accuracies where there are any, else losses.
    """
    columns = {name: [_if_any(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    given = {name for name, values in columns.items() if any(value is not None for value in values)}
    left_out: set[str] = set()
    if "test_accuracy_at_best_validation" in given:
        left_out = {"final_test_loss", "test_loss_at_best_validation"}
    elif "test_loss_at_best_validation" in given:
        left_out = {"final_test_accuracy", "test_accuracy_at_best_validation"}
    return {label(name): values for name, values in columns.items() if name not in left_out}


def _if_any(value: object) -> object:
    return None if isinstance(value, Spread) and not value.n else value


def _settings_and_results(
    settings: Sequence[Setting], results: dict[str, list[object]], title: str = ""
) -> Table:
    shared, columns = [title] if title else [], dict[str, list[object]]()
    for heading, phrase, values in settings:
        if phrase and len(values) > 1 and len(set(values)) == 1:
            shared.append(phrase.format(_shown(values[0])))
        else:
            columns[heading] = values
    columns |= {heading: values for heading, values in results.items() if any(v is not None for v in values)}
    rows = zip(*columns.values(), strict=True)
    return table_of(list(columns), rows, ", ".join(shared), folding={"label", "theory"})


def _column(heading: str, cells: Sequence[str], *, numbers: bool, folds: bool) -> Column:
    """With the least width at which nothing is cut, and the one at which nothing is wrapped."""
    lines = [line for cell in cells for line in cell.splitlines()]
    full = max(map(cell_len, lines), default=0)
    least = full
    if folds:
        least = min(
            _FOLDED_WIDTH, max((cell_len(word) for line in lines for word in line.split()), default=0)
        )
    justify: Literal["right", "left"] = "right" if numbers else "left"
    return Column(
        heading,
        justify=justify,
        overflow="fold" if folds else "ellipsis",
        min_width=max(least, *map(cell_len, heading.split())),
        max_width=max(full, cell_len(heading)),
    )


class _Measured(float):
    """A result, shown with fewer digits than a setting."""


def _measured(value: float | None) -> _Measured | None:
    return None if value is None else _Measured(value)


def _shown(value: object) -> str:
    match value:
        case None:
            return "-"
        case Spread():
            return str(value)
        case _Measured():
            return number(value)
        case float():
            return number(value, SETTING_DIGITS)
        case _:
            return str(value)
