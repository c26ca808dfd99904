"""Drawing of a map of phases on axes: areas, borders, corners, presets, measured points and their labels.

Areas differ in lightness and hatching, lines in their dashes, and all are labelled, so that nothing rests on
hue. The ticks of a border between areas point to the area that it belongs to; an end of a line that does not
belong to it is an open circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from ipcore.figures.places import Place, Room, along, inside
from ipcore.theory import Phase, Phases, phase_name
from ipcore.theory.plane.borders import Area, Border

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

    from ipcore.figures.phases import MeasuredPoint

# Face, hatch, colour of text and lines, dashes of lines.
_STYLES: Final = {
    "unstable": ("#5a5a5a", "", "#2b2b2b", (0, (1, 1))),
    "controlled_divergence": ("#b0b0b0", "///", "#6b4c9a", (0, (3, 1, 1, 1))),
    "trivial": ("#f7f7f7", "", "#808080", (0, (4, 2))),
    "kernel": ("#bcd7ee", "..", "#0b559f", (0, (5, 1.5))),
    "operator": ("#bcd7ee", "..", "#0b559f", (0, (5, 1.5))),
    "feature_learning": ("#f6b26b", "", "#b34700", "-"),
    "measure": ("#ffffff", "xx", "#444444", (0, (1, 2))),
    None: ("#ffffff", "", "#444444", (0, (1, 4))),  # not decided
}
_SMALL: Final = 7.0
_LARGE: Final = 7.5
_TICK_STEPS: Final = [Fraction(n, 4) for n in (1, 2, 4, 8, 16, 32, 64, 128)]
_MOST_TICKS: Final = 8


def draw_phases(
    axes: Axes, found: Phases, points: Sequence[MeasuredPoint], size: tuple[float, float]
) -> None:
    """Draw a map and the measured points on it.

    Args:
        axes: Take the drawing.
        found: The map.
        points: Measured ones.
        size: Of the axes, in inches.
    """
    from matplotlib.patches import PathPatch  # noqa: PLC0415 - an extra

    x, y = found.free
    axes.set_xlim(float(x.low), float(x.high))
    axes.set_ylim(float(y.low), float(y.high))
    _ticks(axes, x.low, x.high, y.low, y.high)
    room = Room((72 * size[0], 72 * size[1]))
    for border in found.borders:
        room.add_line(_unit(found, border.start), _unit(found, border.end))
    for area in found.areas:
        face, hatch, *_ = _STYLES[area.label.regime]
        path = _path([area.outline, *area.holes])
        axes.add_patch(PathPatch(path, facecolor=face, hatch=hatch, edgecolor="#909090", linewidth=0))
    _draw_points(axes, found, points, room)
    _mark_presets(axes, found, room)
    for border in found.borders:
        _draw_border(axes, found, border, room)
    _draw_corners(axes, found, room)
    for area in found.areas:
        _label_area(axes, found, area, room)


def _draw_points(axes: Axes, found: Phases, points: Sequence[MeasuredPoint], room: Room) -> None:
    for point in points:
        x, y = float(point.at[0]), float(point.at[1])
        look: dict[str, Any] = {"marker": "o", "markersize": 5, "mec": "white", "mew": 0.8, "color": "black"}
        if point.agrees is None:
            look |= {"mfc": "white", "mec": "black"}
        elif not point.agrees:
            look |= {"marker": "X", "markersize": 6}
        axes.plot(x, y, linestyle="none", zorder=6, clip_on=False, **look)
        at = _unit(found, point.at)
        room.take("●", _LARGE, [Place(at)])
        if point.name:
            height = room.size(point.name, _SMALL)[1]
            place = room.take(point.name, _SMALL, along(at, at, off=height / 2 + 3, points=room.points))
            _write(axes, point.name, place, colour="black", halo="white", size=_SMALL)


def _draw_border(axes: Axes, found: Phases, border: Border[Phase], room: Room) -> None:
    from matplotlib.patheffects import Normal, withTickedStroke  # noqa: PLC0415 - an extra

    xs, ys = ([float(start), float(end)] for start, end in zip(border.start, border.end, strict=True))
    if border.label not in border.sides:
        _, _, colour, dashes = _STYLES[border.label.regime]
        axes.plot(xs, ys, color="white", linewidth=4.5, solid_capstyle="butt", zorder=2, clip_on=False)
        axes.plot(xs, ys, color=colour, linewidth=2.8, linestyle=dashes, zorder=3, clip_on=False)
        ends = _unit(found, border.start), _unit(found, border.end)
        _write_beside(axes, border.label, ends, room)
    elif None not in border.sides and border.sides[0] != border.sides[1]:
        side = 90 if border.label == border.sides[0] else -90
        ticks = withTickedStroke(spacing=6, angle=side, length=0.6, linewidth=0.7, foreground="black")
        axes.plot(xs, ys, color="black", linewidth=1, path_effects=[ticks, Normal()], zorder=2)


def _draw_corners(axes: Axes, found: Phases, room: Room) -> None:
    """Ends of lines, filled where they belong to a line; points with a regime of their own, labelled."""
    lines = [border for border in found.borders if border.label not in border.sides]
    for corner in found.corners:
        touching = [border for border in found.borders if corner.at in (border.start, border.end)]
        around = {label for border in touching for label in (border.label, *border.sides)}
        x, y = float(corner.at[0]), float(corner.at[1])
        ends = [line for line in lines if corner.at in (line.start, line.end)]
        if corner.label not in around:
            at = _unit(found, corner.at)
            _, _, colour, _ = _STYLES[corner.label.regime]
            axes.plot(x, y, "D", markersize=6, color=colour, mec="white", zorder=5, clip_on=False)
            _write_beside(axes, corner.label, (at, at), room)
        elif ends:
            belongs = corner.label in {line.label for line in ends}
            _, _, colour, _ = _STYLES[corner.label.regime if belongs else ends[0].label.regime]
            face = colour if belongs else "white"
            axes.plot(x, y, "o", markersize=5, color=colour, mfc=face, zorder=4, clip_on=False)


def _write_beside(
    axes: Axes, phase: Phase, ends: tuple[tuple[float, float], tuple[float, float]], room: Room
) -> None:
    text = _rows(phase)
    width, height = room.size(text, _SMALL)
    place = room.take(text, _SMALL, along(*ends, off=height / 2 + _SMALL, points=room.points))
    colour = _STYLES[phase.regime][2]
    middle = (ends[0][0] + ends[1][0]) / 2, (ends[0][1] + ends[1][1]) / 2
    if place.angle == 0:  # a text that does not lie along its line is joined to it
        x, y = place.centre
        across, up = middle[0] - x, middle[1] - y
        half = width / 2 / room.points[0], height / 2 / room.points[1]
        share = min(half[0] / abs(across) if across else 1, half[1] / abs(up) if up else 1, 1)
        xs, ys = [x + share * across, middle[0]], [y + share * up, middle[1]]
        for colour_of, wide in (("white", 2.0), (colour, 0.7)):
            axes.plot(xs, ys, transform=axes.transAxes, color=colour_of, linewidth=wide, zorder=4)
    _write(axes, text, place, colour=colour, halo="white", size=_SMALL)


def _label_area(axes: Axes, found: Phases, area: Area[Phase], room: Room) -> None:
    outlines = [[_unit(found, at) for at in ring] for ring in (area.outline, *area.holes)]
    text, face = _rows(area.label), _STYLES[area.label.regime][0]
    place = room.take(text, _LARGE, inside(outlines))
    colour = "white" if area.label.regime == "unstable" else "black"
    _write(axes, text, place, colour=colour, halo=face, size=_LARGE)


def _mark_presets(axes: Axes, found: Phases, room: Room) -> None:
    names: dict[tuple[Fraction, Fraction], list[str]] = {}
    for marked in found.presets:
        names.setdefault(marked.at, []).append(marked.name)
    for at, of_place in names.items():
        axes.plot(
            float(at[0]), float(at[1]), "*", markersize=10, color="black", mec="white", mew=0.8, zorder=7,
            clip_on=False,
        )  # fmt: skip
        text, (u, v) = ", ".join(of_place), _unit(found, at)
        width, height = (size / most for size, most in zip(room.size(text, _SMALL), room.points, strict=True))
        off = width / 2 + 0.02, height / 2 + 0.02
        places = [Place((u + i * off[0], v + j * off[1])) for i in (1, -1) for j in (1, -1)]
        _write(axes, text, room.take(text, _SMALL, places), colour="black", halo="white", size=_SMALL)


def _write(axes: Axes, text: str, place: Place, *, colour: str, halo: str, size: float) -> None:
    from matplotlib.patheffects import withStroke  # noqa: PLC0415 - an extra

    written = axes.text(
        place.centre[0], place.centre[1], text, transform=axes.transAxes, rotation=place.angle,
        rotation_mode="anchor", ha="center", va="center", fontsize=size, color=colour, zorder=8,
        linespacing=1.1,
    )  # fmt: skip
    written.set_path_effects([withStroke(linewidth=2.2, foreground=halo)])


def _rows(phase: Phase) -> str:
    """A phase in at most two rows."""
    name = phase_name(phase)
    return name.replace(" (", "\n(") if phase.layers else name.replace(" ", "\n")


def _ticks(axes: Axes, x0: Fraction, x1: Fraction, y0: Fraction, y1: Fraction) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter  # noqa: PLC0415 - an extra

    for axis, low, high in ((axes.xaxis, x0, x1), (axes.yaxis, y0, y1)):
        step = next((s for s in _TICK_STEPS if (high - low) / s <= _MOST_TICKS), high - low)
        first = -(-low // step)
        places = [step * n for n in range(int(first), int(high // step) + 1)]
        texts = {float(place): str(place).replace("-", "−") for place in places}
        axis.set_major_locator(FixedLocator(list(texts)))
        axis.set_major_formatter(FuncFormatter(lambda value, _, texts=texts: texts.get(value, "")))


def _unit(found: Phases, at: tuple[Fraction, Fraction]) -> tuple[float, float]:
    """A point as shares of the axes."""
    x, y = found.free
    return float((at[0] - x.low) / (x.high - x.low)), float((at[1] - y.low) / (y.high - y.low))


def _path(rings: Iterable[Sequence[tuple[Fraction, Fraction]]]) -> Path:
    from matplotlib.path import Path  # noqa: PLC0415 - an extra

    paths = []
    for ring in rings:
        corners = [(float(x), float(y)) for x, y in ring]
        paths.append(Path([*corners, corners[0]], closed=True))
    return Path.make_compound_path(*paths)
