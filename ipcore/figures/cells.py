"""Numbers with their intervals, one per row, beside theory's predictions: the results of a study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ipcore.figures.picture import Picture, PictureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ipcore.figures.layout import AnyFigure, Target

# Inches.
_ROW: Final = 0.17
_LEAST_ROW: Final = 0.13
_SIDE: Final = 0.25
_LEAST_WIDTH: Final = 1.0
_MOST: Final = 80
_SIGNS: Final = {"agrees": "✓", "disagrees": "✗", "undecided": "?"}


@dataclass(frozen=True, slots=True)
class Row:
    """One number.

    Attributes:
        name: Label of the row.
        value: The estimate.
        low: Lower end of its interval; None: unbounded, as with a single seed. It is drawn to the edge.
        high: Upper end.
        predicted_low: Lower end of what theory predicts; None: no lower bound.
        predicted_high: Upper end. Without both there is no prediction.
        tolerance: Distance from the prediction that still agrees.
        verdict: "agrees", "disagrees", "undecided" or "no prediction".
    """

    name: str
    value: float
    low: float | None
    high: float | None
    predicted_low: float | None
    predicted_high: float | None
    tolerance: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with a heading."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Intervals(Picture):
    """Groups of rows on one horizontal axis.

    Attributes:
        quantity: Name of the axis: "exponent of the width".
        groups: From top to bottom.
        measured: First sentence of the caption.
        meaning: Last sentences of the caption.
    """

    quantity: str
    groups: tuple[Group, ...]
    measured: str
    meaning: str = ""

    @property
    def caption(self) -> str:
        """See `Picture`."""
        shown = "Dots: estimates; bars: intervals; shaded: theory with the tolerance."
        left_out = f" {self._left_out} more rows are in the CSV." if self._left_out else ""
        return f"{self.measured}. {shown}{left_out} {self.meaning}".strip()

    @property
    def _left_out(self) -> int:
        return max(0, sum(len(group.rows) for group in self.groups) - _MOST)

    def rows(self) -> Iterator[Mapping[str, object]]:
        """One row a number."""
        for group in self.groups:
            for row in group.rows:
                yield {
                    "group": group.title,
                    "number": row.name,
                    "value": row.value,
                    "low": row.low,
                    "high": row.high,
                    "predicted_low": row.predicted_low,
                    "predicted_high": row.predicted_high,
                    "tolerance": row.tolerance,
                    "verdict": row.verdict,
                }

    def _draw(self, target: Target) -> AnyFigure:
        from matplotlib.axes import Axes as UsersAxes  # noqa: PLC0415 - matplotlib

        from ipcore.figures import layout, style  # noqa: PLC0415 - matplotlib

        lines = list(self._lines())
        if not any(row is not None for _, row in lines):
            raise PictureError("there are no numbers to draw")
        left = max(layout.text_width(text) for text, _ in lines) + 0.15
        if isinstance(target, UsersAxes):
            figure, axes = target.figure, target
        else:
            room = (left + _SIDE, 0.45)
            figure, (wide, tall) = layout.canvas(target, (style.PAGE, len(lines) * _ROW + room[1]))
            least = (room[0] + _LEAST_WIDTH, len(lines) * _LEAST_ROW + room[1])
            if wide < least[0] or tall < least[1]:
                raise layout.too_small(least, (wide, tall))
            box = (left / wide, 0.38 / tall, 1 - room[0] / wide, 1 - room[1] / tall)
            axes = figure.add_axes(box)
        style.dress(axes)
        low, high = self._span([row for _, row in lines if row is not None])
        axes.set_xlim(low, high)
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        layout.set_ticks(axes.xaxis, layout.linear_ticks(low, high))
        axes.grid(visible=True, axis="x", color="#E4E4E4", linewidth=0.5)
        axes.set_xlabel(self.quantity, fontsize=style.TEXT)
        for y, (text, row) in enumerate(lines):
            weight = "bold" if row is None else "normal"
            x = -(left - 0.05) / layout.inches(axes)[0] if row is None else -0.02
            axes.text(
                x, y, text, transform=axes.get_yaxis_transform(), ha="left" if row is None else "right",
                va="center", fontsize=style.SMALL, fontweight=weight,
            )  # fmt: skip
            if row is not None:
                _draw_row(axes, y, row, (low, high))
        return figure

    def _lines(self) -> Iterator[tuple[str, Row | None]]:
        left = _MOST
        for group in self.groups:
            if left <= 0:
                return
            yield group.title, None
            for row in group.rows[:left]:
                yield row.name, row
            left -= len(group.rows)

    @staticmethod
    def _span(rows: list[Row]) -> tuple[float, float]:
        """Ends of the axis: estimates, predictions, and intervals as far as they are not much longer."""
        inner = [row.value for row in rows]
        for row in rows:
            inner += [x - row.tolerance for x in (row.predicted_low,) if x is not None]
            inner += [x + row.tolerance for x in (row.predicted_high,) if x is not None]
        low, high = min(inner), max(inner)
        room = max(high - low, 0.5)
        ends = [x for row in rows for x in (row.low, row.high) if x is not None]
        low = min([low, *(x for x in ends if x > low - room)])
        high = max([high, *(x for x in ends if x < high + room)])
        return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _draw_row(axes: Axes, y: int, row: Row, span: tuple[float, float]) -> None:
    from ipcore.figures import style  # noqa: PLC0415 - matplotlib

    predicted = (row.predicted_low, row.predicted_high)
    if predicted != (None, None):
        low = span[0] if predicted[0] is None else predicted[0] - row.tolerance
        high = span[1] if predicted[1] is None else predicted[1] + row.tolerance
        axes.fill_between([low, high], y - 0.38, y + 0.38, color="#BFD7EA", linewidth=0, zorder=1)
        for line in predicted:
            if line is not None:
                axes.plot([line, line], [y - 0.38, y + 0.38], color=style.GREY, linewidth=0.8, zorder=2)
    low = span[0] if row.low is None or math.isinf(row.low) else max(row.low, span[0])
    high = span[1] if row.high is None or math.isinf(row.high) else min(row.high, span[1])
    axes.plot([low, high], [y, y], color=style.BLACK, linewidth=1, zorder=3)
    face = "white" if row.verdict == "undecided" else style.BLACK
    axes.plot(
        [row.value], [y], marker="o", markersize=3.5, color=style.BLACK, markerfacecolor=face,
        linestyle="none", zorder=4,
    )  # fmt: skip
    axes.text(
        1.01, y, _SIGNS.get(row.verdict, ""), transform=axes.get_yaxis_transform(), ha="left", va="center",
        fontsize=style.SMALL,
    )  # fmt: skip
