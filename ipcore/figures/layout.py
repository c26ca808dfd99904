"""Sheets of panels in inches, texts that take up measured room, legends outside of the data.

Positions are computed, not fitted: the size of every panel is known before anything is drawn, so that labels
beside lines can be kept from touching.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ipcore.figures.series import superscript
from ipcore.figures.style import COLUMN, PAGE, SMALL, TEXT, Look

_BOLD: Final = 1.15  # how much wider bold letters are
_LINE: Final = 1.3  # height of a line of text, in font sizes
_LEGEND_HANDLE: Final = 0.28  # inches
_LEGEND_GAP: Final = 0.16
# From so many decades on a logarithmic axis has ticks at these digits.
_DIGITS: Final = (
    (2.5, (1,)),
    (1.5, (1, 3)),
    (0.5, (1, 2, 5)),
    (0.25, (1, 1.5, 2, 3, 5, 7)),
    (0.0, (1, 1.2, 1.4, 1.6, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)),
)


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float = SMALL) -> float:
    """How wide a line of text is, in inches."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text, prop=FontProperties(family="DejaVu Sans", size=size))
    # Letters are set on whole pixels on a screen, which takes a little more.
    return float(path.get_extents().width) / 72 * 1.06


@dataclass(frozen=True, slots=True)
class Margins:
    """Room around every panel, in inches.

    Attributes:
        left: For tick labels, of the first panel of a row; of every panel where the vertical axes differ.
        right: For labels beside lines, of every panel.
        gap: Between panels of a row beyond `right`.
        bottom: For tick labels below every panel.
        axis: For the name of the vertical axis, once.
    """

    left: float = 0.36
    right: float = 0.08
    gap: float = 0.1
    bottom: float = 0.22
    axis: float = 0.17


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


def wrapped(text: str, width: float, size: float) -> str:
    """A text in as many lines as it needs to be at most `width` inches wide; words are not broken."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


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
        columns: Of panels.
        height: Of each panel, in inches.
        margins: Around each.
        share_y: Whether values are compared: tick labels stand at the first panel of a row only.
        legend: Names and handles of a strip above all panels.
        headings: One above each row, or none.
        foot: A line below everything.
        x_label: Name of the horizontal axes, once.
        y_label: Name of the vertical axes, once.
        width: Of the figure; None: one column for one panel, else two.
    """
    rows = -(-len(titles) // min(columns, len(titles)))
    beside = wrapped(y_label, rows * (height + 0.4) - 0.1, TEXT)
    room = margins or Margins()
    room = replace(room, axis=room.axis + beside.count("\n") * _LINE * TEXT / 72)
    count, columns = len(titles), min(columns, len(titles))
    total = width or (COLUMN if columns == 1 else PAGE)
    lefts = 1 if share_y else columns
    free = total - room.axis - lefts * room.left - columns * room.right - (columns - 1) * room.gap
    panel = free / columns
    legend_columns = _legend_columns(legend, total)
    line = _LINE * SMALL / 72
    top = -(-len(legend) // legend_columns) * line + 0.06 if legend else 0.0
    below = (0.19 if x_label else 0.0) + (line + 0.03 if foot else 0.0) + 0.02
    shown = [wrapped(title, panel + room.right, TEXT) for title in titles]
    heads = [wrapped(heading, total - room.axis - room.left - 0.05, TEXT * _BOLD) for heading in headings]
    title_lines = max(text.count("\n") + 1 if text else 0 for text in shown)
    head_lines = max((text.count("\n") + 1 for text in heads), default=0)
    above = 0.07 + (title_lines * 1.2 * TEXT + head_lines * 1.35 * TEXT) / 72
    tall = top + rows * (above + height + room.bottom) + below
    figure = Figure(figsize=(total, tall))
    step = panel + room.right + room.gap + (0 if share_y else room.left)
    panels = []
    for i in range(count):
        row, column = divmod(i, columns)
        x = room.axis + room.left + column * step
        y = tall - top - (row + 1) * (above + height) - row * room.bottom
        panels.append(figure.add_axes((x / total, y / tall, panel / total, height / tall)))
        panels[-1].set_title(shown[i], loc="left", pad=3, linespacing=1.1)
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
    """What stands beside a name in a legend."""
    keywords = look.mark() if mark else {"color": look.colour}
    return Line2D([], [], linestyle=look.dashes if line else "none", **keywords)


def _legend_columns(legend: Sequence[tuple[str, Any]], total: float) -> int:
    """As many columns as fit into the figure's width."""
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


Ticks = dict[float, str]


def log_ticks(low: float, high: float, base: int = 10) -> Ticks:
    """At least two ticks of a logarithmic axis, at 1, 2, 5 of a decade where decades are few.

    Args:
        low: Lower end of the axis.
        high: Upper end.
        base: 10, or 2: whole or broken powers of two, written as powers.

    Returns:
        Their labels by place.
    """
    if base == 2:
        span = np.log2(high / low)
        step = next((s for s in (0.25, 0.5, 1, 2, 4, 8, 16) if span / s <= 5), 32)
        first, last = int(np.ceil(np.log2(low) / step)), int(np.floor(np.log2(high) / step))
        return {2.0 ** (step * n): f"$2^{{{step * n:g}}}$" for n in range(first, last + 1)}
    decades = np.log10(high / low)
    digits: Sequence[float] = _DIGITS[-1][1]
    for least, chosen in _DIGITS:
        if decades >= least:
            digits = chosen
            break
    powers = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
    places = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
    if len(places) < 2:  # a few per cent in all
        places = [float(x) for x in np.geomspace(low, high, 6)[1:-1:3]]
    if len(places) > 6:
        places = places[:: -(-len(places) // 6)]
    return {place: _power(place) for place in places}


def linear_ticks(low: float, high: float) -> Ticks:
    """Round ticks of a linear axis with their labels."""
    places = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return {float(x): f"{x:.6g}".replace("-", "−") for x in places if low <= x <= high}


def fitting(ticks: Ticks, axes: Axes) -> Ticks:
    """As many of the ticks of a linear horizontal axis as have room for their labels."""
    low, high = axes.get_xlim()
    inch = _inches(axes)[0] / (high - low)
    places = list(ticks)
    for every in range(1, len(ticks) + 1):
        kept = {place: ticks[place] for place in places[::every]}
        gaps = [(b - a) * inch for a, b in pairwise(kept)]
        if max(map(text_width, kept.values())) + 0.08 <= min(gaps, default=np.inf):
            return kept
    return ticks


def set_ticks(axis: Axis, ticks: Ticks) -> None:
    """These ticks and no others."""
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: ticks.get(value, "")))


def room_for(*ticks: Ticks) -> float:
    """How much room the labels of a vertical axis take to its left, in inches."""
    return max(text_width(text) for each in ticks for text in each.values()) + 0.1


def width_ticks(axes: Axes, widths: Sequence[float]) -> None:
    """Ticks at the widths, as many as have room."""
    shown = sorted(widths)
    room = _inches(axes)[0]
    low, high = axes.get_xlim()
    span = np.log(high / low)
    kept: list[float] = []
    for value in reversed(shown):  # the largest is the one that counts
        if not kept or room * np.log(kept[-1] / value) / span > text_width(f"{value:g}") + 0.07:
            kept.append(value)
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator(shown))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def labels_beside(axes: Axes, labels: Sequence[tuple[float, str, str]], x: float) -> None:
    """Texts to the right of the axes at given heights, pushed apart where they would touch.

    Args:
        axes: With their limits set.
        labels: Height in data, text, colour.
        x: Where in the data the lines end; a thin line leads from there to a text that was moved.
    """
    if not labels:
        return
    wide, tall = _inches(axes)
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = np.array([to_axes.transform((x, y))[1] for y, _, _ in labels])
    end = float(to_axes.transform((x, labels[0][0]))[0])
    need = 1.12 * SMALL / 72 / tall
    places = _apart(wanted, need, 0.35 * need, 1 - 0.35 * need)
    for (_, text, colour), at, place in zip(labels, wanted, places, strict=True):
        start = 1 + 0.06 / wide
        axes.text(
            start, place, text, transform=axes.transAxes, ha="left", va="center", fontsize=SMALL, color=colour
        )
        axes.plot(
            [end, 1 + 0.04 / wide], [at, place], transform=axes.transAxes, color=colour, linewidth=0.4,
            clip_on=False, zorder=1,
        )  # fmt: skip


def _inches(axes: Axes) -> tuple[float, float]:
    return axes.bbox.width / axes.figure.get_dpi(), axes.bbox.height / axes.figure.get_dpi()


def _apart(wanted: Any, need: float, low: float, high: float) -> list[float]:
    """Heights near those wanted, in their order, at least `need` apart and within bounds if they can be."""
    order = np.argsort(wanted, kind="stable")
    # Least squares under "ascending by need": pool neighbours that would overlap (isotonic regression).
    blocks: list[list[float]] = []
    for i, at in enumerate(np.asarray(wanted)[order]):
        blocks.append([float(at) - i * need, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2], blocks[-1]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    flat = [value for value, count in blocks for _ in range(int(count))]
    last = high - (len(flat) - 1) * need
    placed = [min(max(value, low), max(last, low)) + i * need for i, value in enumerate(flat)]
    result = [0.0] * len(placed)
    for position, value in zip(order, placed, strict=True):
        result[int(position)] = value
    return result


def _power(value: float) -> str:
    """A number on a logarithmic axis: "0.02", "500", "10⁻⁴", "3·10⁻⁴"."""
    if 1e-3 <= value < 1e4:
        return f"{value:.4g}"
    exponent = int(np.floor(np.log10(value) + 1e-9))
    digit = value / 10.0**exponent
    power = f"10{superscript(exponent)}"
    return power if abs(digit - 1) < 1e-6 else f"{digit:.3g}·{power}"
