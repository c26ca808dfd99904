"""Legends as strips of a width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ipcore.figures.layout.targets import AnyFigure
from ipcore.figures.layout.texts import LINE, text_width
from ipcore.figures.style import SMALL, Look

# Names and handles.
Legend = Sequence[tuple[str, Any]]
_HANDLE: Final = 0.28  # inches
_GAP: Final = 0.16


def legend_handle(look: Look, *, line: bool = True, mark: bool = True) -> Line2D:
    """The symbol beside a name in a legend."""
    keywords = look.mark() if mark else {"color": look.colour}
    return Line2D([], [], linestyle=look.dashes if line else "none", **keywords)


def legend_height(legend: Legend, width: float) -> float:
    """Height of a strip of some width, in inches."""
    return -(-len(legend) // _columns(legend, width)) * LINE * SMALL / 72 + 0.06 if legend else 0.0


def draw_legend(owner: Axes | AnyFigure, legend: Legend, width: float, **place: Any) -> None:
    """Draw the strip; people read rows, matplotlib fills columns first.

    Args:
        owner: Of the legend.
        legend: At least one.
        width: Of the strip, in inches.
        **place: Keywords of matplotlib's legend that say where it is.
    """
    columns = _columns(legend, width)
    order = [i for column in range(columns) for i in range(column, len(legend), columns)]
    owner.legend(
        [legend[i][1] for i in order],
        [legend[i][0] for i in order],
        ncols=columns,
        frameon=False,
        borderpad=0.2,
        borderaxespad=0.0,
        labelspacing=0.3,
        handlelength=72 * _HANDLE / SMALL,
        handletextpad=0.5,
        columnspacing=72 * _GAP / SMALL,
        **place,
    )


def _columns(legend: Legend, width: float) -> int:
    """The number of columns that fit into a width."""
    wide = [_HANDLE + 0.06 + text_width(name) + _GAP for name, _ in legend]
    for columns in range(len(wide), 1, -1):
        if sum(max(wide[i::columns]) for i in range(columns)) <= width - 0.05:
            return columns
    return 1
