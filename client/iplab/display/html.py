"""HTML of handles in notebooks. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.table import Table

_MOST_ROWS: Final = 40
_CELL: Final = "padding:0.2em 0.6em;text-align:{align};vertical-align:top;white-space:{space}"
# Names, times and numbers stay on one line; sentences are wrapped. Browsers would break ids at every hyphen.
_LONGEST_LINE: Final = 30
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as plain text.

    Attributes:
        title: Above it, or "".
        headings: One per column.
        rows: Their cells.
        right: Which columns are set to the right.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]


def grid_of(table: Table) -> Grid:
    """A table of `iplab.display.tables` as plain text."""
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return Grid(
        str(table.title or ""),
        tuple(str(column.header) for column in table.columns),
        tuple(zip(*columns, strict=True)),
        tuple(column.justify == "right" for column in table.columns),
    )


def of_table(table: Table) -> str:
    """A table of `iplab.display.tables`."""
    grid = grid_of(table)
    return table_html(grid.headings, grid.rows, grid.title, grid.right)


def table_html(
    headings: Sequence[str], rows: Sequence[Sequence[object]], title: str = "", right: Sequence[bool] = ()
) -> str:
    """A table of at most so many rows as a page shows well.

    Args:
        headings: One per column; () for none.
        rows: Rows of cells, of any values.
        title: Title above the table.
        right: Whether each column is right-aligned; () for none.
    """
    columns = len(headings or rows[0])
    aligned = ["right" if flag else "left" for flag in right] or ["left"] * columns
    above = paragraph(title) if title else ""  # a caption would be wrapped at the table's width
    parts = [_row("th", headings, aligned) if headings else ""]
    parts += [_row("td", [str(cell) for cell in row], aligned) for row in rows[:_MOST_ROWS]]
    more = len(rows) - _MOST_ROWS
    under = f"<p>{more} more rows are not shown</p>" if more > 0 else ""
    return f"{above}<table>{''.join(parts)}</table>{under}"


def titled(title: str, *parts: str) -> str:
    """HTML below a title."""
    return f"<div><strong>{escape(title)}</strong>{''.join(parts)}</div>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p style='margin:0.3em 0'>{escape(text)}</p>"


def folded(title: str, *parts: str) -> str:
    """HTML that is hidden until its title is clicked."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def lines(text: str) -> str:
    """Plain text of several lines, with its line breaks."""
    return f"<pre>{escape(text)}</pre>"


def listed(texts: Iterable[str]) -> str:
    """A list of plain texts; "" if there are none."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul style='margin:0.3em 0'>{items}</ul>" if items else ""


def progress(done: int, total: int) -> str:
    """A progress bar that screen readers can read."""
    return (
        f"<div><progress value='{done}' max='{max(total, 1)}'>{done:,} of {total:,}</progress> "
        f"{done:,} of {total:,} steps</div>"
    )


def _row(kind: str, cells: Sequence[str], aligned: Sequence[str]) -> str:
    inner = "".join(
        f"<{kind} style='{_CELL.format(align=align, space=_space(kind, cell))}'>{escape(cell)}</{kind}>"
        for cell, align in zip(cells, aligned, strict=True)
    )
    return f"<tr>{inner}</tr>"


def _space(kind: str, cell: str) -> str:
    longest = _LONGEST_LINE if " " in cell else _LONGEST_NAME
    return "nowrap" if kind == "td" and len(cell) <= longest else "normal"
