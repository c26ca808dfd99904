"""Tables for the command line, Python prompts and the examples."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from iplab.display.fitting import abbreviations, fitted
from iplab.display.sorting import column
from iplab.display.terminal import folded, visible
from iplab.results.frames import run_row
from iplab.results.numbers import SETTING_DIGITS, number, with_interval
from iplab.results.settings import AXES, NETWORK
from iplab.results.summary import Spread, SummaryRow, averaged, label

if TYPE_CHECKING:
    from iplab.results.best import BestRate
    from iplab.results.run import Run

# Wider than every table, so that output in a file or `less -S` is never cut.
_PIPED_WIDTH = 400
# Values of summaries that tables of runs show.
RESULTS = ("last_train_loss", *averaged().values())

# Phrase for an axis whose value all rows share, if it is not "NAME VALUE" ("width 64").
_IN_WORDS = {"parameterization": "", "hidden_layers": "{} hidden layers", "activation": "{}"}

# Heading, phrase for a value that all rows share ("": always a column), values.
Setting = tuple[str, str, list[object]]


class _Console(Console):
    """A console that writes to its file in notebooks too, where rich would create a separate display."""

    def __init__(self, file: TextIO, width: int | None = None) -> None:
        super().__init__(file=file, width=width, force_jupyter=False)

    def on_broken_pipe(self) -> None:
        """Let the caller handle it, because rich would end the program with exit code 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def print_table(table: Table) -> None:
    """Print to standard output, fitted to the terminal's width if there is a terminal."""
    console = _Console(file=sys.stdout)
    _draw(table, sys.stdout, console.width if console.is_terminal else _PIPED_WIDTH, console.encoding)


def text_of(table: Table) -> str:
    """A table as text, as wide as the terminal."""
    lines = io.StringIO()
    _draw(table, lines, shutil.get_terminal_size().columns, "utf-8")
    return lines.getvalue().rstrip("\n")


def _draw(table: Table, file: TextIO, width: int, encoding: str) -> None:
    drawn, needed = fitted(table, width, encoding)
    console = _Console(file=file, width=max(width, needed))
    if table.title:  # a narrow table would wrap its own title
        console.print(Text(visible(str(table.title))))
    console.print(drawn)
    if shortened := abbreviations(table, drawn):
        print(folded("; ".join(f"{short}: {long}" for short, long in shortened.items())), file=file)


def table_of(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str = "",
    folding: Collection[str] | None = None,
    cutting: Collection[str] = (),
) -> Table:
    """A plain table with right-aligned columns of numbers. None is shown as "-".

    Args:
        headings: One per column.
        rows: Rows of cells.
        title: Title above the table.
        folding: Headings of columns whose cells may be wrapped; None: all except numbers.
        cutting: Headings of columns whose cells are cut with an ellipsis if there is no room.
    """
    listed = [list(row) for row in rows]
    columns = []
    for position, heading in enumerate(headings):
        column = [row[position] for row in listed]
        numbers = bool(column) and all(isinstance(value, int | float | Spread | None) for value in column)
        spreads = any(isinstance(value, Spread | Ranged) for value in column)
        may_fold = spreads or (not numbers if folding is None else heading in folding)
        justify: Literal["right", "left"] = "right" if numbers else "left"
        overflow: Literal["crop", "fold", "ellipsis"] = "fold" if may_fold else "ellipsis"
        columns.append(
            Column(visible(heading), justify=justify, overflow="crop" if heading in cutting else overflow)
        )
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.title, table.title_justify, table.title_style = title or None, "left", ""
    for row in listed:
        table.add_row(*[Text(visible(_shown(value))) for value in row])
    return table


def summary_table(rows: Sequence[SummaryRow], title: str = "") -> Table:
    """Mean and sample standard deviation over seeds of the final test loss and accuracy.

    Settings that all rows share are in the title. Empty columns (if no run diverged, for example) are left
    out.
    """
    settings: list[Setting] = [
        *_network(rows),
        ("base learning rate", "base learning rate {}", [row.base_learning_rate for row in rows]),
        ("predicted regime", "predicted regime: {}", [row.predicted_regime.words for row in rows]),
        ("runs", _each([row.runs for row in rows]), [row.runs for row in rows]),
    ]
    results = _results([row.spreads() for row in rows]) | {
        "diverged": [row.diverged or None for row in rows],
        "unfinished": [row.unfinished or None for row in rows],
    }
    return _settings_and_results(settings, results, title)


def best_table(rows: Sequence[BestRate]) -> Table:
    """The best base learning rate of each group of runs, one row per group."""
    rates = [row.rates for row in rows]
    tried = f"{{}} {_plural('rate', rates)} tried"
    settings: list[Setting] = [
        *_network(rows),
        ("best rate", "", [row.base_learning_rate for row in rows]),
        ("rates tried", tried, list(rates)),
        ("not bracketed", "", [row.bracket.removesuffix(" tried") or None for row in rows]),
        ("runs", _each([row.runs for row in rows]), [row.runs or None for row in rows]),
    ]
    empty = {"not bracketed": not any(row.bracket for row in rows), "runs": not any(row.runs for row in rows)}
    settings = [setting for setting in settings if not empty.get(setting[0])]
    spreads: list[dict[str, object]] = [
        {
            row.criterion: row.criterion_value,
            "final_test_loss": row.test_loss,
            "final_test_accuracy": row.test_accuracy,
        }
        for row in rows
    ]
    return _settings_and_results(settings, _results(spreads))


def runs_table(runs: Sequence[Run], title: str = "") -> Table:
    """One row per run. Values that all runs share are appended to the title."""
    settings: list[Setting] = [
        ("run", "", [run.id for run in runs]),
        ("state", "all {}", [str(run.state) for run in runs]),
        *_network(runs),
        ("base learning rate", "base learning rate {}", [run.base_learning_rate for run in runs]),
        ("seed", "seed {}", [run.seed for run in runs]),
        ("committed steps", "{} steps", [run.committed_steps for run in runs]),
    ]
    found = [run.results for run in runs]
    measured = [{name: _measured(results[name]) for name in RESULTS} for results in found]
    return _settings_and_results(settings, _results(measured), title)


def chosen_table(runs: Sequence[Run], columns: str, title: str = "") -> Table:
    """One row per run with the columns that are asked for, and no others.

    Args:
        runs: At least one.
        columns: Names between commas, as `--sort` has them.
        title: Above the table.

    Raises:
        InvalidRequestError: No such column.
    """
    rows = [run_row(run) | {"run": run.id, "predicted_regime": run.predicted_regime.words} for run in runs]
    known = list(dict.fromkeys(name for row in rows for name in row))
    chosen = [column(part.strip(), known, "--columns") for part in columns.split(",") if part.strip()]
    results = set(runs[0].results)
    cells = [
        [
            _Measured(v) if name in results and isinstance(v := row.get(name), float) else row.get(name)
            for name in chosen
        ]
        for row in rows
    ]
    return table_of([name.replace("_", " ") for name in chosen], cells, title)


def points_table(points: Sequence[Mapping[str, Any]]) -> Table:
    """One row per metric point, with the settings in which runs differ; its time is in CSV and JSON."""
    columns: list[Setting] = [("run", "run {}", [point["run"] for point in points])]
    for name in AXES:
        heading = name.replace("_", " ")
        phrase = "{}" if name == "parameterization" else _IN_WORDS.get(name, f"{heading} {{}}")
        columns.append((heading, phrase, [point[name] for point in points]))
    columns += [(name, "", [point[name] for point in points]) for name in ("metric", "step")]
    return _settings_and_results(columns, {"value": [_measured(point["value"]) for point in points]})


def _each(counts: Sequence[int]) -> str:
    return f"{{}} {_plural('run', counts)} each"


def _plural(noun: str, counts: Sequence[int]) -> str:
    return noun if set(counts) == {1} else f"{noun}s"


def _network(rows: Sequence[SummaryRow] | Sequence[BestRate] | Sequence[Run]) -> list[Setting]:
    """Columns of the axes that define the network."""
    return [
        (heading, _IN_WORDS.get(name, f"{heading} {{}}"), [getattr(row, name) for row in rows])
        for name in NETWORK
        if (heading := name.replace("_", " "))
    ]


def _results(rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """Columns of values of runs' summaries, by heading.

    With a validation set, the best and the last value of one metric: accuracy if there is any, else loss.
    `--json` has all.
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
    return table_of(
        list(columns),
        rows,
        ", ".join(shared),
        folding={"parameterization", "predicted regime", "not bracketed"},
    )


class Ranged(float):
    """A number with an interval, which no line break separates; ends that are unknown are None."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, value: float, low: float | None, high: float | None) -> Self:
        """See the class."""
        made = super().__new__(cls, value)
        made._text = with_interval(value, low, high)
        return made

    def __str__(self) -> str:
        return self._text


class _Measured(float):
    """A result, shown with fewer digits than a setting."""


def _measured(value: float | None) -> _Measured | None:
    return None if value is None else _Measured(value)


def _shown(value: object) -> str:
    match value:
        case None:
            return "-"
        case Spread() | Ranged():
            return str(value)
        case _Measured():
            return number(value)
        case float():
            return number(value, SETTING_DIGITS)
        case _:
            return str(value)
