"""Style of all figures: sizes, fonts, colours, markers.

Nothing depends on hue alone: ordered series (layers, widths) go from dark to light, groups differ in
lightness, marker and dashes, so that they can be told apart in grey prints and by colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb

# Widths of one and of two columns of a journal, in inches.
COLUMN: Final = 3.3
PAGE: Final = 6.8
SMALL: Final = 7.0  # points; nothing is smaller
TEXT: Final = 8.0
BLACK: Final = "#000000"
GREY: Final = "#767676"
# Part of viridis that stands out from white paper.
_DARKEST, _LIGHTEST = 0.0, 0.8
# Okabe & Ito (2008), in an order in which neighbours differ in lightness; black and yellow are left out.
_GROUPS: Final = ("#0072B2", "#E69F00", "#882255", "#009E73", "#56B4E9", "#D55E00", "#7F7F7F")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
_DASHES: Final = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_OURS: Final[Any] = {
    "figure.dpi": 150,
    "svg.hashsalt": "iplab",  # ids that do not change from run to run
    "svg.fonttype": "path",  # the same glyphs on every machine
    "pdf.fonttype": 42,  # fonts embedded whole, as journals ask for
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": SMALL,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one series is drawn.

    Attributes:
        colour: Hexadecimal.
        marker: As matplotlib's.
        dashes: As matplotlib's line style.
        filled: Whether markers are.
    """

    colour: str
    marker: str
    dashes: Any
    filled: bool = True

    @property
    def ink(self) -> str:
        """The colour as text on white paper: darker where it is light."""
        red, green, blue = to_rgb(self.colour)
        light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        share = min(1.0, 0.32 / light) if light else 1.0
        return to_hex((red * share, green * share, blue * share))

    def mark(self) -> dict[str, Any]:
        """Keywords of `Axes.plot` for its markers."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": self.colour if self.filled else "white",
            "markeredgecolor": self.colour,
            "markeredgewidth": 0.9,
        }


@contextmanager
def style() -> Iterator[None]:
    """Draw in our style, whatever the user's settings of matplotlib are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_OURS)
        yield


def dress(axes: Axes) -> None:
    """Keep the style in axes that the user made, and in ticks, which matplotlib makes when it paints."""
    for name, spine in axes.spines.items():
        spine.set_linewidth(_OURS["axes.linewidth"])
        spine.set_visible(_OURS.get(f"axes.spines.{name}", True))
    axes.set_axisbelow(_OURS["axes.axisbelow"])
    for axis in (axes.xaxis, axes.yaxis):
        for which in ("major", "minor"):
            axis.set_tick_params(
                which=which,
                width=_OURS[f"{axis.axis_name}tick.{which}.width"],
                length=_OURS[f"{axis.axis_name}tick.{which}.size"],
                labelsize=_OURS[f"{axis.axis_name}tick.labelsize"],
                labelfontfamily=_OURS["font.family"],
            )


def ordered(position: int, count: int) -> Look:
    """The look of a member of an ordered family (layer l of L, a width): dark first, light last."""
    share = position / max(count - 1, 1)
    colour = to_hex(mpl.colormaps["viridis"](_DARKEST + share * (_LIGHTEST - _DARKEST)))
    return Look(colour, _MARKERS[position % len(_MARKERS)], "-")


def group(position: int) -> Look:
    """The look of one of several unordered groups (parameterizations, activations)."""
    return Look(
        _GROUPS[position % len(_GROUPS)],
        _MARKERS[position % len(_MARKERS)],
        _DASHES[position % len(_DASHES)],
    )


def apart() -> Look:
    """The look of a series beside an ordered family: the output beside the hidden layers."""
    return Look("#C2410C", "D", (0, (5, 1.5)), filled=False)


def limit() -> Look:
    """The look of an infinite-width limit."""
    return Look(BLACK, "*", "-")
