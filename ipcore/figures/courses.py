"""Values over updates, layers or inputs: a line for each group, its mean and band over seeds.

Used for learning curves, ranks, alignment, kernel movement and functions of one variable.
"""

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

_HEIGHT: Final = 1.45  # inches
_MARKS: Final = 5  # markers on a line of many points
_TOP: Final = 0.95  # height of crosses, as a share of the panel
_FEW: Final = 9  # lines with at most this many points have a marker at each


@dataclass(frozen=True, slots=True)
class Moment:
    """A value at a place: the mean over seeds and, if known, its 95 % interval."""

    x: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """One line.

    Attributes:
        name: In the legend.
        moments: Ascending by place.
        role: Its relation to the other lines.
        diverged: Places at which seeds diverged, one each: means do not include them from there on.
    """

    name: str
    moments: tuple[Moment, ...]
    role: Role = Role.GROUP
    diverged: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class CoursePanel:
    """One pair of axes."""

    title: str
    courses: tuple[Course, ...]


@dataclass(frozen=True, slots=True)
class Courses(Picture):
    """Panels of lines on shared axes.

    Attributes:
        quantity: Name of the vertical axis, with its unit.
        panels: By row.
        columns: Panels in a row.
        measured: First sentence of the caption.
        seeds: How many each line is the mean of.
        meaning: Last sentences of the caption.
        horizontal: Name of the horizontal axis: "updates", "layer l", "x".
        logarithmic: Whether the vertical axis is; means are geometric then.
        headings: One above each row, or none.
    """

    quantity: str
    panels: tuple[CoursePanel, ...]
    columns: int
    measured: str
    seeds: int
    meaning: str = ""
    horizontal: str = "updates"
    logarithmic: bool = False
    headings: tuple[str, ...] = ()

    @property
    def courses(self) -> tuple[Course, ...]:
        """The courses of all panels."""
        return tuple(course for panel in self.panels for course in panel.courses)

    @property
    def caption(self) -> str:
        """See `Picture`."""
        mean = "geometric means" if self.logarithmic else "means"
        bands = any(moment.low is not None for course in self.courses for moment in course.moments)
        parts = [measured_text(self.measured, mean, self.seeds, bands=bands)]
        if any(course.diverged for course in self.courses):
            parts.append("Lines up to a cross: a seed diverged there; from there on it is in no mean.")
        return " ".join([*parts, self.meaning]).strip()

    def rows(self) -> Iterator[Mapping[str, object]]:
        """One row a point."""
        for number, panel in enumerate(self.panels):
            row = number // self.columns
            for course in panel.courses:
                for moment in course.moments:
                    yield {
                        "group": self.headings[row] if row < len(self.headings) else "",
                        "panel": panel.title,
                        "series": course.name,
                        self.horizontal: moment.x,
                        "value": moment.value,
                        "low": moment.low,
                        "high": moment.high,
                        "diverged": sum(x <= moment.x for x in course.diverged),
                    }

    def _draw(self, target: Target) -> AnyFigure:
        from ipcore.figures import layout  # noqa: PLC0415 - matplotlib

        if not any(course.moments for course in self.courses):
            raise PictureError("there are no points to draw")
        look_of = looks((course.name, course.role) for course in self.courses)
        low, high = self._span()
        ticks = layout.log_ticks(low, high) if self.logarithmic else layout.linear_ticks(low, high)
        places = [moment.x for course in self.courses for moment in course.moments]
        places += [place for course in self.courses for place in course.diverged]
        # A label of the horizontal axis may stand at its very end.
        across = layout.linear_ticks(min(places), max(places))
        page = layout.sheet(
            target,
            [panel.title for panel in self.panels],
            self.columns,
            height=_HEIGHT,
            margins=layout.Margins(left=layout.room_for(ticks), right=layout.room_for(across) / 2),
            legend=[(name, layout.legend_handle(look)) for name, look in look_of.items()],
            headings=self.headings,
            x_label=self.horizontal,
            y_label=self.quantity,
        )
        for panel, axes in zip(self.panels, page.panels, strict=True):
            if not panel.courses:
                axes.set_axis_off()
                continue
            self._frame(axes, (min(places), max(places)), (low, high))
            layout.set_ticks(axes.yaxis, ticks)
            for position, course in enumerate(panel.courses):
                _draw_course(axes, course, look_of[course.name], position / len(panel.courses))
        return page.figure

    def _span(self) -> tuple[float, float]:
        moments = [moment for course in self.courses for moment in course.moments]
        values = [x for m in moments for x in (m.value, m.low, m.high) if x is not None]
        if self.logarithmic:
            low, high = min(x for x in values if x > 0), max(values)
            pad = max((high / low) ** 0.05, 1.02)
            return low / pad, high * pad
        low, high = min(values), max(values)
        pad = max(0.05 * (high - low), 1e-3 * max(abs(low), abs(high)), 1e-12)
        return low - pad, high + pad

    def _frame(self, axes: Axes, across: tuple[float, float], up: tuple[float, float]) -> None:
        from ipcore.figures import layout  # noqa: PLC0415 - matplotlib

        if self.logarithmic:
            axes.set_yscale("log")
        axes.set_ylim(*up)
        first, last = across
        pad = 0.03 * ((last - first) or 1.0)
        axes.set_xlim(first - pad, last + pad)
        layout.set_ticks(axes.xaxis, layout.fitting(layout.linear_ticks(*axes.get_xlim()), axes))
        axes.grid(visible=True, axis="y", color="#E4E4E4", linewidth=0.5)


def _draw_course(axes: Axes, course: Course, look: Look, shift: float) -> None:
    _draw_diverged(axes, course, look)
    if not course.moments:
        return
    x = np.array([moment.x for moment in course.moments])
    y = np.array([moment.value for moment in course.moments])
    known = [m for m in course.moments if m.low is not None and m.high is not None]
    if known:
        lows, highs = [m.low or 0.0 for m in known], [m.high or 0.0 for m in known]
        axes.fill_between([m.x for m in known], lows, highs, color=look.colour, alpha=0.18, linewidth=0)
    # Markers of different lines stand at different places, so that lines that meet are told apart.
    every = 1 if len(x) <= _FEW else (int(shift * len(x) / _MARKS), -(-len(x) // _MARKS))
    wide = 1.6 if course.role is Role.LIMIT else 1.1
    axes.plot(
        x,
        y,
        linestyle=look.dashes,
        linewidth=wide,
        markevery=every,
        zorder=2,
        **look.mark() | {"markersize": 3.5},
    )


def _draw_diverged(axes: Axes, course: Course, look: Look) -> None:
    """Draw a line from the mean up to a cross just below the upper edge at each step where a seed ended."""
    scale = axes.transScale + axes.transLimits  # to shares of the panel, whatever the scale
    top = scale.inverted().transform((0.0, _TOP))[1]
    for place in dict.fromkeys(course.diverged):
        before = [moment for moment in course.moments if moment.x <= place][-1:] or course.moments[:1]
        for moment in before:
            axes.plot(
                [moment.x, place],
                [moment.value, top],
                linestyle=look.dashes,
                linewidth=0.8,
                color=look.colour,
                zorder=2,
            )
        axes.plot(
            [place],
            [top],
            marker="x",
            markersize=5,
            markeredgewidth=1.4,
            color=look.colour,
            zorder=4,
        )
