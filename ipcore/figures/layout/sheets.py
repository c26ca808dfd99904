"""Sheets of panels in inches, with legends outside of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ipcore.figures.layout.texts import BOLD, LINE, text_width, wrapped
from ipcore.figures.style import COLUMN, PAGE, SMALL, TEXT, Look

_LEGEND_HANDLE: Final = 0.28  # inches

_LEGEND_GAP: Final = 0.16


@dataclass(frozen=True, slots=True)
class Margins:
    """Room around every panel, in inches.

    Attributes:
        left: For tick labels, of the first panel of a row; of every panel where the vertical axes differ.
        right: For labels beside lines, of every panel.
        gap: Between panels of a row beyond `right`.
        bottom: For tick labels below every panel.
        axis: For the name of the vertical axis, once.
        top: Between a panel and its title, for marks that reach over the edge.
    """

    left: float = 0.36
    right: float = 0.08
    gap: float = 0.1
    bottom: float = 0.22
    axis: float = 0.17
    top: float = 0.0


@dataclass(slots=True)
class Sheet:
    """A figure and its panels.

    Attributes:
        figure: The figure.
        panels: Axes by row and column; those beyond `count` are None.
        size: Width and height of each panel in inches.
    """

    figure: Figure
    panels: list[Axes]
    columns: int
    size: tuple[float, float]


def sheet(
    titles: Sequence[str],
    columns: int,
    *,
    height: float,
    margins: Margins | None = None,
    share_y: bool = True,
    legend: Sequence[tuple[str, Any]] = (),
    headings: Sequence[str] = (),
    foot: str = "",
    x_label: str = "",
    y_label: str = "",
    width: float | None = None,
) -> Sheet:
    """A figure with panels of equal size.

    Args:
        titles: One per panel, by row; "" for none.
        columns: Panels in a row.
        height: Height of each panel, in inches.
        margins: Around each.
        share_y: Whether values are compared: tick labels stand at the first panel of a row only.
        legend: Names and handles of a strip above all panels.
        headings: One above each row, or none.
        foot: A line below everything.
        x_label: Name of the horizontal axes, once.
        y_label: Name of the vertical axes, once.
        width: Width of the figure; None: one column for one panel, else two.
    """
    rows = -(-len(titles) // min(columns, len(titles)))
    beside = wrapped(y_label, rows * (height + 0.4) - 0.1, TEXT)
    room = margins or Margins()
    room = replace(room, axis=room.axis + beside.count("\n") * LINE * TEXT / 72)
    count, columns = len(titles), min(columns, len(titles))
    total = width or (COLUMN if columns == 1 else PAGE)
    lefts = 1 if share_y else columns
    free = total - room.axis - lefts * room.left - columns * room.right - (columns - 1) * room.gap
    panel = free / columns
    legend_columns = _legend_columns(legend, total)
    line = LINE * SMALL / 72
    top = -(-len(legend) // legend_columns) * line + 0.06 if legend else 0.0
    below = (0.19 if x_label else 0.0) + (line + 0.03 if foot else 0.0) + 0.02
    shown = [wrapped(title, panel + room.right, TEXT) for title in titles]
    heads = [wrapped(heading, total - room.axis - room.left - 0.05, TEXT * BOLD) for heading in headings]
    title_lines = max(text.count("\n") + 1 if text else 0 for text in shown)
    head_lines = max((text.count("\n") + 1 for text in heads), default=0)
    above = 0.07 + room.top + (title_lines * 1.2 * TEXT + head_lines * 1.35 * TEXT) / 72
    tall = top + rows * (above + height + room.bottom) + below
    figure = Figure(figsize=(total, tall))
    step = panel + room.right + room.gap + (0 if share_y else room.left)
    panels = []
    for i in range(count):
        row, column = divmod(i, columns)
        x = room.axis + room.left + column * step
        y = tall - top - (row + 1) * (above + height) - row * room.bottom
        panels.append(figure.add_axes((x / total, y / tall, panel / total, height / tall)))
        panels[-1].set_title(shown[i], loc="left", pad=3 + 72 * room.top, linespacing=1.1)
        if share_y and column:
            panels[-1].tick_params(labelleft=False)
    if legend:
        _draw_legend(figure, legend, legend_columns)
    for row, heading in enumerate(heads):
        y = tall - top - row * (above + height + room.bottom) - 0.02
        figure.text(
            (room.axis + room.left) / total,
            y / tall,
            heading,
            ha="left",
            va="top",
            fontsize=TEXT,
            fontweight="bold",
        )
    middle = room.axis + room.left + (free + (columns - 1) * (step - panel)) / 2
    if x_label:
        at = (line + 0.03 if foot else 0.0) + 0.03
        figure.text(middle / total, at / tall, x_label, ha="center", va="bottom", fontsize=TEXT)
    if y_label:
        centre = (tall - top + below) / 2 / tall
        figure.text(0.02 / total, centre, beside, rotation=90, ha="left", va="center", fontsize=TEXT)
    if foot:
        figure.text((room.axis + 0.02) / total, 0.02 / tall, foot, ha="left", va="bottom", fontsize=SMALL)
    return Sheet(figure, panels, columns, (panel, height))


def legend_handle(look: Look, *, line: bool = True, mark: bool = True) -> Line2D:
    """The symbol beside a name in a legend."""
    keywords = look.mark() if mark else {"color": look.colour}
    return Line2D([], [], linestyle=look.dashes if line else "none", **keywords)


def _legend_columns(legend: Sequence[tuple[str, Any]], total: float) -> int:
    """The number of columns that fit into the figure's width."""
    wide = [_LEGEND_HANDLE + 0.06 + text_width(name) + _LEGEND_GAP for name, _ in legend]
    for columns in range(len(wide), 1, -1):
        if sum(max(wide[i::columns]) for i in range(columns)) <= total - 0.05:
            return columns
    return 1


def _draw_legend(figure: Figure, legend: Sequence[tuple[str, Any]], columns: int) -> None:
    # matplotlib fills columns first; people read rows.
    order = [i for column in range(columns) for i in range(column, len(legend), columns)]
    figure.legend(
        [legend[i][1] for i in order],
        [legend[i][0] for i in order],
        loc="upper left",
        bbox_to_anchor=(0.006, 1.0),
        ncols=columns,
        frameon=False,
        borderpad=0.2,
        borderaxespad=0.0,
        labelspacing=0.3,
        handlelength=72 * _LEGEND_HANDLE / SMALL,
        handletextpad=0.5,
        columnspacing=72 * _LEGEND_GAP / SMALL,
    )
