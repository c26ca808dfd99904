"""Pictures as SVG texts that depend on the numbers alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

# Okabe & Ito's colours: told apart by colour-blind readers too.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
_STYLE: Final = {
    "svg.hashsalt": "iplab",  # ids that do not change from run to run
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def panels(
    titles: Sequence[str], columns: int, *, height: float = 2.9, compared: bool = False
) -> tuple[Figure, list[Any]]:
    """A figure with a titled panel each, in rows of `columns`; on one vertical scale if they are compared."""
    rows = -(-len(titles) // columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.2 * columns, height * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, sharey=compared).flat)
    for title, axis in zip(titles, axes, strict=False):
        axis.set_title(title, fontsize=9)
    for axis in axes[len(titles) :]:
        axis.set_axis_off()
    return figure, axes


def finish(axis: Any, widths: Sequence[int]) -> None:
    """Ticks at the widths, the axis' name, and a legend that hides little."""
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("width m")
    legend(axis)


def legend(axis: Any) -> None:
    """A small, half transparent legend."""
    axis.legend(fontsize=6.5, framealpha=0.5, edgecolor="none", handlelength=1.4)


def svg(figure: Figure) -> str:
    """The picture's text."""
    with mpl.rc_context(_STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
