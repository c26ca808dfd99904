"""Sizes against the width in double logarithmic panels, with theory's powers of the width through them.

Used for coordinate checks, stationarity, equivalence, calibrated rates and distances to a limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from ipcore.figures.picture import Picture, PictureError
from ipcore.figures.series import Role, looks, measured_text
from ipcore.theory import format_exponent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ipcore.figures.layout import AnyFigure, Target
    from ipcore.figures.style import Look

MARKS: Final = {"agrees": "✓", "disagrees": "✗", "undecided": "?", "not yet": "…", "not bracketed": "↔"}
_LOOSE: Final = 10  # upper bounds above this are not drawn
_MEANINGS: Final = {
    "✓": "agrees with theory",
    "✗": "disagrees",
    "?": "undecided",
    "…": "does not show at these widths yet",
    "↔": "not bracketed: a best rate is the last one tried",
}


@dataclass(frozen=True, slots=True)
class Size:
    """A size at one width: the geometric mean over seeds and, if known, its 95 % interval."""

    width: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Law:
    """A size at several widths, beside the power of the width that theory gives.

    Attributes:
        name: "h²", "L = 3", "hp to ip-llr".
        sizes: By width, > 0.
        slope: Slope of the log size against log width, measured; None if no line was drawn.
        low: Lower end of its 95 % interval; None if unknown.
        high: Upper end.
        theory: Exponent of the width; None where theory has none.
        theory_high: Upper end where theory gives an interval of exponents.
        upper_bound: Whether `theory` is an upper bound only.
        expected: Slope that the parts of a change, measured at one width, give at these widths where
            the exponent does not show yet; None if unknown.
        verdict: "agrees", "disagrees", "undecided", "not yet", "not bracketed" or "".
        role: Its relation to the other lines.
    """

    name: str
    sizes: tuple[Size, ...]
    slope: float | None = None
    low: float | None = None
    high: float | None = None
    theory: Fraction | None = None
    theory_high: Fraction | None = None
    upper_bound: bool = False
    expected: float | None = None
    verdict: str = ""
    role: Role = Role.ORDERED

    @property
    def loose(self) -> bool:
        """Whether theory has an upper bound that is too large to be useful."""
        return self.upper_bound and self.theory is not None and self.theory > _LOOSE

    @property
    def exponents(self) -> str:
        """The measured slope and, in brackets, theory's: "−0.51 (−1/2) ✓"."""
        parts = [] if self.slope is None else [f"{self.slope:.2f}".replace("-0.00", "0.00")]
        if self.theory is not None and not self.loose:
            ends = {format_exponent(x): None for x in (self.theory, self.theory_high) if x is not None}
            parts.append(f"({'≤ ' if self.upper_bound else ''}{' .. '.join(ends)})")
        if self.verdict in MARKS:
            parts.append(MARKS[self.verdict])
        return " ".join(parts).replace("-", "−")


@dataclass(frozen=True, slots=True)
class LawPanel:
    """One pair of axes; without laws it stays empty."""

    title: str
    laws: tuple[Law, ...]


@dataclass(frozen=True, slots=True)
class PowerLaws(Picture):
    """Panels of sizes against the width on shared axes.

    Attributes:
        quantity: Name of the vertical axis, with its unit if it has one.
        panels: By row.
        columns: Panels in a row.
        measured: First sentence of the caption: what was measured, and on which networks.
        seeds: Number of seeds behind each point.
        meaning: Last sentences of the caption: what it says of theory.
        headings: One above each row, or none.
        shared: Whether values are compared across the panels of a row (of all rows, if none has a heading).
        horizontal: Name of the horizontal axis.
        base: Base of the logarithms on the vertical axis: 10, or 2 for rates on a grid of octaves.
        means: Kind of mean over the seeds.
    """

    quantity: str
    panels: tuple[LawPanel, ...]
    columns: int
    measured: str
    seeds: int
    meaning: str = ""
    headings: tuple[str, ...] = ()
    shared: bool = True
    horizontal: str = "width m"
    base: int = 10
    means: str = "geometric means"

    @property
    def laws(self) -> tuple[Law, ...]:
        """The laws of all panels."""
        return tuple(law for panel in self.panels for law in panel.laws)

    @property
    def caption(self) -> str:
        """See `Picture`."""
        bands = any(size.low is not None for law in self.laws for size in law.sizes)
        parts = [
            measured_text(self.measured, self.means, self.seeds, bands=bands),
            "Numbers: measured slope of the logarithms (theory's exponent)."
            if any(law.theory is not None for law in self.laws)
            else "Numbers: measured slope of the logarithms.",
        ]
        if any(law.theory is not None for law in self.laws):
            parts.append("Lines: theory's power of the width, through the middle of the data.")
        if any(law.upper_bound and not law.loose for law in self.laws):
            parts.append("Dotted: upper bounds (≤).")
        if any(law.loose for law in self.laws):
            parts.append(f"Upper bounds above {_LOOSE} are left out.")
        if any(law.expected is not None for law in self.laws):
            parts.append("Dashed: the slope expected at these widths.")
        marks = {MARKS[law.verdict] for law in self.laws if law.verdict in MARKS}
        if marks:
            parts.append(
                ", ".join(f"{mark} {text}" for mark, text in _MEANINGS.items() if mark in marks) + "."
            )
        return " ".join([*parts, self.meaning]).strip()

    def rows(self) -> Iterator[Mapping[str, object]]:
        """One row a point."""
        for number, panel in enumerate(self.panels):
            row = number // self.columns
            heading = self.headings[row] if row < len(self.headings) else ""
            for law in panel.laws:
                shared = {
                    "group": heading,
                    "panel": panel.title,
                    "series": law.name,
                    "slope": law.slope,
                    "slope_low": law.low,
                    "slope_high": law.high,
                    "theory": "" if law.theory is None else format_exponent(law.theory),
                    "theory_high": "" if law.theory_high is None else format_exponent(law.theory_high),
                    "verdict": law.verdict,
                }
                for size in law.sizes:
                    yield {
                        **shared, "width": size.width, "value": size.value, "low": size.low, "high": size.high
                    }  # fmt: skip

    def _draw(self, target: Target) -> AnyFigure:
        from ipcore.figures import layout  # noqa: PLC0415 - matplotlib

        if not any(law.sizes for law in self.laws):
            raise PictureError("there are no sizes to draw")
        look_of = looks((law.name, law.role) for law in self.laws)
        spans = [self._span(self._compared(number)) for number in range(len(self.panels))]
        ticks = [layout.log_ticks(*span, base=self.base) for span in spans]
        beside = max(layout.text_width(law.exponents) for law in self.laws)
        page = layout.sheet(
            target,
            [panel.title for panel in self.panels],
            self.columns,
            height=_height(max(len(panel.laws) for panel in self.panels)),
            margins=layout.Margins(left=layout.room_for(*ticks), right=beside + 0.1),
            share_y=self.shared,
            legend=[(name, layout.legend_handle(look, line=False)) for name, look in look_of.items()],
            headings=self.headings,
            x_label=self.horizontal,
            y_label=self.quantity,
        )
        for number, (panel, axes) in enumerate(zip(self.panels, page.panels, strict=True)):
            if not panel.laws:
                axes.set_axis_off()
                continue
            self._frame(axes, spans[number])
            layout.set_ticks(axes.yaxis, ticks[number])
            for law in panel.laws:
                _draw_law(axes, law, look_of[law.name])
            ends = [
                (law.sizes[-1].value, law.exponents, look_of[law.name].ink) for law in panel.laws if law.sizes
            ]
            layout.labels_beside(axes, ends, max(size.width for law in panel.laws for size in law.sizes))
        return page.figure

    def _compared(self, number: int) -> tuple[Law, ...]:
        """The laws that share their vertical axis with a panel."""
        if not self.shared:
            return self.panels[number].laws
        if not self.headings:
            return self.laws
        first = number - number % self.columns
        return tuple(law for panel in self.panels[first : first + self.columns] for law in panel.laws)

    def _span(self, laws: tuple[Law, ...]) -> tuple[float, float]:
        """Ends of a vertical axis: around the data; lines and bounds may leave the panel."""
        values = [x for law in laws for size in law.sizes for x in (size.value, size.low, size.high) if x]
        low, high = min(values, default=1.0), max(values, default=1.0)
        pad = max((high / low) ** 0.06, 1.08)
        return low / pad, high * pad

    def _frame(self, axes: Axes, span: tuple[float, float]) -> None:
        from ipcore.figures import layout  # noqa: PLC0415 - matplotlib

        widths = sorted({size.width for law in self.laws for size in law.sizes})
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(widths[0] / 1.15, widths[-1] * 1.15)
        axes.set_ylim(*span)
        axes.grid(visible=True, axis="y", color="#E4E4E4", linewidth=0.5)
        layout.width_ticks(axes, widths)


def _height(series: int) -> float:
    """Height of a panel in inches, with room for the numbers of every line."""
    return max(1.25, 0.14 * series + 0.1)


def _draw_law(axes: Axes, law: Law, look: Look) -> None:
    widths = np.array([size.width for size in law.sizes])
    values = np.array([size.value for size in law.sizes])
    if not len(widths):
        return
    if law.role is Role.LIMIT:
        axes.plot(widths, values, color=look.colour, linewidth=1.6, zorder=2)
        return
    if all(size.low is not None and size.high is not None for size in law.sizes):
        lows, highs = (
            [size.low or size.value for size in law.sizes],
            [size.high or size.value for size in law.sizes],
        )
        axes.fill_between(widths, lows, highs, color=look.colour, alpha=0.22, linewidth=0)
    middle = math.exp(float(np.log(widths).mean())), math.exp(float(np.log(values).mean()))
    ends = np.array([widths[0] / 1.08, widths[-1] * 1.08])
    theory = () if law.loose else tuple(x for x in (law.theory, law.theory_high) if x is not None)
    lines = [middle[1] * (ends / middle[0]) ** float(exponent) for exponent in dict.fromkeys(theory)]
    for line in lines:
        axes.plot(ends, line, color=look.colour, linewidth=0.9, linestyle=":" if law.upper_bound else "-")
    if len(lines) > 1:
        axes.fill_between(ends, lines[0], lines[1], color=look.colour, alpha=0.1, linewidth=0)
    if law.expected is not None:
        line = middle[1] * (ends / middle[0]) ** law.expected
        axes.plot(ends, line, color=look.colour, linewidth=0.9, linestyle=(0, (4, 1.5)))
    if (law.theory is None or law.loose) and law.slope is not None:
        axes.plot(widths, values, color=look.colour, linewidth=0.6, linestyle=(0, (1, 2)))
    axes.plot(widths, values, linestyle="none", zorder=3, **look.mark())
