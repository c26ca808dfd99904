"""Sheets of panels in inches, with legends outside of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from ipcore.figures.layout.legends import Legend, draw_legend, legend_height
from ipcore.figures.layout.targets import AnyFigure, Target, canvas, too_small
from ipcore.figures.layout.texts import BOLD, LINE, inches, wrapped
from ipcore.figures.picture import PictureError
from ipcore.figures.style import COLUMN, PAGE, TEXT, dress

# Least size of panels in a figure of the user's: width in inches; height as a share of a new figure's.
_LEAST_WIDTH: Final = 0.5
_LEAST_HEIGHT: Final = 0.8
# Inches from axes of the user's to the legend below their ticks and label.
_TO_LEGEND: Final = 0.42


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
        figure: The figure, or subfigure, that has the panels.
        panels: Axes by row and column.
        size: Width and height of each panel in inches.
    """

    figure: AnyFigure
    panels: list[Axes]
    size: tuple[float, float]


def sheet(
    target: Target,
    titles: Sequence[str],
    columns: int,
    *,
    height: float,
    margins: Margins | None = None,
    share_y: bool = True,
    legend: Legend = (),
    headings: Sequence[str] = (),
    x_label: str = "",
    y_label: str = "",
) -> Sheet:
    """Panels of equal size.

    Args:
        target: A figure to fill, or the axes of the only panel; None: a new figure, one column of a journal
            wide for one panel in a row, else two.
        titles: One per panel, by row; "" for none.
        columns: Panels in a row.
        height: Height of each panel of a new figure, in inches.
        margins: Around each.
        share_y: Whether values are compared: tick labels stand at the first panel of a row only.
        legend: Names and handles of a strip above all panels.
        headings: One above each row, or none.
        x_label: Name of the horizontal axes, once.
        y_label: Name of the vertical axes, once.

    Raises:
        PictureError: The target has too little room, or is one pair of axes for several panels.
    """
    room = margins or Margins()
    if isinstance(target, Axes):
        return _in_axes(target, titles, room, legend, headings, x_label, y_label)
    count, columns = len(titles), min(columns, len(titles))
    rows = -(-count // columns)
    figure, (total, tall) = canvas(target, (COLUMN if columns == 1 else PAGE, 0.0))
    beside = wrapped(y_label, (rows * (height + 0.4) if target is None else tall) - 0.1, TEXT)
    room = replace(room, axis=room.axis + beside.count("\n") * LINE * TEXT / 72)
    lefts = 1 if share_y else columns
    free = total - room.axis - lefts * room.left - columns * room.right - (columns - 1) * room.gap
    panel = free / columns
    top = legend_height(legend, total)
    below = (0.19 if x_label else 0.0) + 0.02
    shown = [wrapped(title, panel + room.right, TEXT) for title in titles]
    heads = [wrapped(heading, total - room.axis - room.left - 0.05, TEXT * BOLD) for heading in headings]
    title_lines = max(text.count("\n") + 1 if text else 0 for text in shown)
    head_lines = max((text.count("\n") + 1 for text in heads), default=0)
    above = 0.07 + room.top + (title_lines * 1.2 * TEXT + head_lines * 1.35 * TEXT) / 72
    if target is None and isinstance(figure, Figure):
        tall = top + rows * (above + height + room.bottom) + below
        figure.set_size_inches(total, tall)
    else:
        least = _LEAST_HEIGHT * height
        height = (tall - top - below) / rows - above - room.bottom
        if panel < _LEAST_WIDTH or height < least:
            needed = top + rows * (above + least + room.bottom) + below
            raise too_small((total - free + columns * _LEAST_WIDTH, needed), (total, tall))
    step = panel + room.right + room.gap + (0 if share_y else room.left)
    panels = []
    for i in range(count):
        row, column = divmod(i, columns)
        x = room.axis + room.left + column * step
        y = tall - top - (row + 1) * (above + height) - row * room.bottom
        panels.append(figure.add_axes((x / total, y / tall, panel / total, height / tall)))
        panels[-1].set_title(shown[i], loc="left", pad=3 + 72 * room.top, linespacing=1.1)
        dress(panels[-1])
        if share_y and column:
            panels[-1].tick_params(labelleft=False)
    if legend:
        draw_legend(figure, legend, total, loc="upper left", bbox_to_anchor=(0.006, 1.0))
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
        figure.text(middle / total, 0.03 / tall, x_label, ha="center", va="bottom", fontsize=TEXT)
    if y_label:
        centre = (tall - top + below) / 2 / tall
        figure.text(0.02 / total, centre, beside, rotation=90, ha="left", va="center", fontsize=TEXT)
    return Sheet(figure, panels, (panel, height))


def _in_axes(
    axes: Axes,
    titles: Sequence[str],
    room: Margins,
    legend: Legend,
    headings: Sequence[str],
    x_label: str,
    y_label: str,
) -> Sheet:
    """The only panel in axes of the user's.

    Its legend stands below everything else: inside it would cover data, and above the axes a title of the
    user's, which matplotlib sets directly over them.
    """
    if len(titles) > 1:
        raise PictureError(
            f"the picture has {len(titles)} panels and ax= takes one: give a figure or subfigure as figure=, "
            "as figure.subfigures(1, 2)[0], or draw less, as by filter="
        )
    dress(axes)
    wide, tall = inches(axes)
    axes.set_xlabel(x_label, fontsize=TEXT)
    axes.set_ylabel(wrapped(y_label, tall, TEXT), fontsize=TEXT)
    text = ", ".join(filter(None, (*headings, *titles)))
    pad = 3 + 72 * room.top
    axes.set_title(wrapped(text, wide, TEXT), loc="left", pad=pad, linespacing=1.1, fontsize=TEXT)
    if legend:
        below = ScaledTranslation(0, -_TO_LEGEND, axes.figure.dpi_scale_trans)
        draw_legend(
            axes, legend, wide, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=axes.transAxes + below
        )
    return Sheet(axes.figure, [axes], (wide, tall))
