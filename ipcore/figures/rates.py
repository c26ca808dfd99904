"""Loss against the base learning rate: a curve per width, its minimum, and the rates that diverge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ipcore.figures.picture import Picture, PictureError
from ipcore.figures.series import Role, looks, measured_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ipcore.figures.layout import AnyFigure, Target
    from ipcore.figures.style import Look

_ROW: Final = 0.085  # inches that the crosses of one curve take


@dataclass(frozen=True, slots=True)
class AtRate:
    """Result at one base rate.

    Attributes:
        rate: Base learning rate, > 0.
        value: Mean over the seeds; None where a seed diverged, so that there is no fair mean.
        low: Lower end of the mean's 95 % interval; None if unknown.
        high: Upper end.
        diverged: How many seeds diverged.
    """

    rate: float
    value: float | None
    low: float | None = None
    high: float | None = None
    diverged: int = 0


@dataclass(frozen=True, slots=True)
class RateCurve:
    """A curve over the base rates.

    Attributes:
        name: "m = 256", or that of a group.
        points: By rate.
        best: The best rate, which may lie between those that were trained; None if it was not found.
        low: Lower end of its 95 % interval; None if unknown.
        high: Upper end.
        edge: Whether the best rate is the last of the grid, so that the true one may lie beyond.
        limit: Whether it is that of infinite width, which is drawn in black.
    """

    name: str
    points: tuple[AtRate, ...]
    best: float | None = None
    low: float | None = None
    high: float | None = None
    edge: bool = False
    limit: bool = False


@dataclass(frozen=True, slots=True)
class RatePanel:
    """One pair of axes."""

    title: str
    curves: tuple[RateCurve, ...]


@dataclass(frozen=True, slots=True)
class RateCurves(Picture):
    """Panels of a result against the base rate, on shared axes.

    Attributes:
        quantity: Name of the vertical axis: "test loss".
        panels: By row.
        columns: Panels in a row.
        measured: First sentence of the caption.
        seeds: Number of seeds behind each point.
        meaning: Last sentences of the caption.
        ordered: Whether the curves have an order (widths) or are groups (parameterizations).
        logarithmic: Whether the vertical axis is; means are geometric then.
    """

    quantity: str
    panels: tuple[RatePanel, ...]
    columns: int
    measured: str
    seeds: int
    meaning: str = ""
    ordered: bool = True
    logarithmic: bool = True

    @property
    def curves(self) -> tuple[RateCurve, ...]:
        """The curves of all panels."""
        return tuple(curve for panel in self.panels for curve in panel.curves)

    @property
    def caption(self) -> str:
        """See `Picture`."""
        mean = "geometric means" if self.logarithmic else "means"
        points = [point for curve in self.curves for point in curve.points]
        bands = any(point.low is not None for point in points)
        parts = [measured_text(self.measured, mean, self.seeds, bands=bands)]
        if any(curve.best is not None and not curve.edge for curve in self.curves):
            bars = any(curve.low is not None for curve in self.curves)
            parts.append(
                f"Black dots: the best rate of each curve{' with its 95 % interval' if bars else ''}."
            )
        if any(curve.edge for curve in self.curves):
            parts.append("Hollow: the best rate is the last one tried; the true one may lie beyond.")
        if any(point.diverged for point in points):
            parts.append("Crosses: rates at which a seed diverged.")
        if not any(_known(curve) for curve in self.curves):
            parts.append("At every rate of every curve a seed diverged, so there is no mean to show.")
        return " ".join([*parts, self.meaning]).strip()

    def rows(self) -> Iterator[Mapping[str, object]]:
        """One row a point."""
        for panel in self.panels:
            for curve in panel.curves:
                for point in curve.points:
                    yield {
                        "panel": panel.title,
                        "series": curve.name,
                        "base_learning_rate": point.rate,
                        "value": point.value,
                        "low": point.low,
                        "high": point.high,
                        "diverged": point.diverged,
                        "best_rate": curve.best,
                        "best_rate_low": curve.low,
                        "best_rate_high": curve.high,
                        "best_rate_at_edge": curve.edge,
                    }

    def _draw(self, target: Target) -> AnyFigure:
        from ipcore.figures import layout  # noqa: PLC0415 - matplotlib

        if not any(curve.points for curve in self.curves):
            raise PictureError("there are no rates to draw")
        role = Role.ORDERED if self.ordered else Role.GROUP
        look_of = looks((curve.name, Role.LIMIT if curve.limit else role) for curve in self.curves)
        crosses = max(sum(any(p.diverged for p in c.points) for c in panel.curves) for panel in self.panels)
        low, high = self._span()
        ticks = layout.log_ticks(low, high) if self.logarithmic else layout.linear_ticks(low, high)
        if not any(_known(curve) for curve in self.curves):
            ticks = {}  # a scale without data would mean nothing
        page = layout.sheet(
            target,
            [panel.title for panel in self.panels],
            self.columns,
            height=1.55 + crosses * _ROW,
            margins=layout.Margins(left=layout.room_for(ticks)),
            legend=[(name, layout.legend_handle(look)) for name, look in look_of.items()],
            x_label="base learning rate η",
            y_label=self.quantity,
        )
        for panel, axes in zip(self.panels, page.panels, strict=True):
            # The upper part of the panel is reserved for the crosses.
            share = 1 - (crosses * _ROW + (0.04 if crosses else 0)) / page.size[1]
            self._frame(axes, panel, share)
            layout.set_ticks(axes.yaxis, ticks)
            for curve in panel.curves:
                _draw_curve(axes, curve, look_of[curve.name])
            for curve in panel.curves:
                _draw_best(axes, curve)
            _draw_crosses(axes, panel.curves, look_of, page.size[1])
            if not any(_known(curve) for curve in panel.curves):
                axes.text(
                    0.5,
                    0.4,
                    "at every rate a seed diverged",
                    backgroundcolor="white",
                    transform=axes.transAxes,
                    ha="center",
                    va="center",
                )
        return page.figure

    def _span(self) -> tuple[float, float]:
        """Ends of the vertical axis, as far as the data reach."""
        points = [point for curve in self.curves for point in curve.points]
        values = [x for p in points for x in (p.value, p.low, p.high) if x is not None] or [1.0]
        low, high = min(values), max(values)
        if self.logarithmic:
            pad = max((high / low) ** 0.05, 1.01)
            return low / pad, high * pad
        pad = max(0.05 * (high - low), 1e-3 * abs(high), 1e-12)
        return low - pad, high + pad

    def _frame(self, axes: Axes, panel: RatePanel, share: float) -> None:
        """Limits and horizontal ticks; the data take the lower `share` of the panel."""
        from ipcore.figures import layout  # noqa: PLC0415 - matplotlib

        low, high = self._span()
        if self.logarithmic:
            axes.set_yscale("log")
            axes.set_ylim(low, low * (high / low) ** (1 / share))
        else:
            axes.set_ylim(low, low + (high - low) / share)
        rates = self._horizontal(panel)
        margin = (rates[1] / rates[0]) ** 0.05
        axes.set_xscale("log", base=2)
        axes.set_xlim(rates[0] / margin, rates[1] * margin)
        layout.set_ticks(axes.xaxis, layout.log_ticks(*axes.get_xlim(), base=2))
        axes.grid(visible=True, axis="y", color="#E4E4E4", linewidth=0.5)

    def _horizontal(self, panel: RatePanel) -> tuple[float, float]:
        """Smallest and largest rate of all panels, or of this one if the grids hardly overlap."""
        grids = [[p.rate for curve in each.curves for p in curve.points] for each in self.panels]
        spans = [np.log(max(grid) / min(grid)) for grid in grids if grid]
        low, high = min(map(min, filter(None, grids))), max(map(max, filter(None, grids)))
        if np.log(high / low) > 1.5 * max(spans):
            own = [p.rate for curve in panel.curves for p in curve.points] or [low, high]
            low, high = min(own), max(own)
        return low, high if high > low else 2 * low


def _known(curve: RateCurve) -> list[tuple[AtRate, float]]:
    return [(point, point.value) for point in curve.points if point.value is not None]


def _draw_curve(axes: Axes, curve: RateCurve, look: Look) -> None:
    known = _known(curve)
    rates, values = [point.rate for point, _ in known], [value for _, value in known]
    if known and all(point.low is not None and point.high is not None for point, _ in known):
        lows, highs = [p.low or v for p, v in known], [p.high or v for p, v in known]
        axes.fill_between(rates, lows, highs, color=look.colour, alpha=0.18, linewidth=0)
    axes.plot(rates, values, linestyle=look.dashes, linewidth=1, zorder=2, **look.mark() | {"markersize": 3})


def _draw_best(axes: Axes, curve: RateCurve) -> None:
    known = _known(curve)
    if curve.best is None or not known:
        return
    at = np.log2([point.rate for point, _ in known])
    height = float(np.exp(np.interp(np.log2(curve.best), at, np.log([value for _, value in known]))))
    if curve.low is not None and curve.high is not None and not curve.edge:
        axes.plot([curve.low, curve.high], [height, height], color="black", linewidth=0.9, marker="|",
                  markersize=4, zorder=4)  # fmt: skip
    face = "white" if curve.edge else "black"
    axes.plot(
        [curve.best], [height], marker="o", markersize=4, color="black", markerfacecolor=face, zorder=5,
        linestyle="none",
    )  # fmt: skip


def _draw_crosses(axes: Axes, curves: tuple[RateCurve, ...], looks: Mapping[str, Look], tall: float) -> None:
    row = 0
    for curve in curves:
        rates = [point.rate for point in curve.points if point.diverged]
        if rates:
            y = 1 - (row + 0.5) * _ROW / tall
            axes.plot(
                rates, [y] * len(rates), linestyle="none", marker="x", markersize=3.2, markeredgewidth=0.9,
                color=looks[curve.name].colour, transform=axes.get_xaxis_transform(), zorder=3,
            )  # fmt: skip
            row += 1
