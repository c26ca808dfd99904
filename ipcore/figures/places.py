"""Places for labels that cover nothing else. Coordinates are fractions of the axes, 0 .. 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
_MARGIN: Final = 0.01
_SPACING: Final = 0.02
_LETTER: Final = (0.56, 1.25)  # width and height of a letter in font sizes


@dataclass(frozen=True, slots=True)
class Place:
    """One way to put a text.

    Attributes:
        centre: Its middle.
        angle: Degrees, -90 < angle <= 90.
    """

    centre: tuple[float, float]
    angle: float = 0.0


@dataclass(slots=True)
class Room:
    """What the axes already show.

    Args:
        points: Width and height of the axes in points.

    Attributes:
        lines: Points of lines that labels should not cross.
        labels: Points of labels.
    """

    points: tuple[float, float]
    lines: list[Points] = field(default_factory=list)
    labels: list[Points] = field(default_factory=list)

    def add_line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Take up a line."""
        self.lines.append(_spread(np.array(start), np.array(end)))

    def size(self, text: str, font_size: float) -> tuple[float, float]:
        """About how wide and high a text is, in points."""
        rows = text.split("\n")
        return max(map(len, rows)) * font_size * _LETTER[0], len(rows) * font_size * _LETTER[1]

    def take(self, text: str, font_size: float, places: Iterable[Place]) -> Place:
        """Choose the place with most room for a text and take it up.

        Args:
            text: Rows are as wide as the longest.
            font_size: In points.
            places: At least one; earlier ones win among equals.
        """
        known = list(places)
        boxes = [self._box(text, font_size, place) for place in known]
        scores = [self._score(box) for box in boxes]
        best = int(np.argmax(scores))
        self.labels.append(boxes[best])
        return known[best]

    def _box(self, text: str, font_size: float, place: Place) -> Points:
        """Points all over a text."""
        width, height = self.size(text, font_size)
        across, down = np.meshgrid(np.linspace(-0.5, 0.5, 9) * width, np.linspace(-0.5, 0.5, 3) * height)
        turn = np.radians(place.angle)
        x = across * np.cos(turn) - down * np.sin(turn)
        y = across * np.sin(turn) + down * np.cos(turn)
        shares = np.stack([x.ravel() / self.points[0], y.ravel() / self.points[1]], axis=1)
        return np.asarray(shares + np.array(place.centre), dtype=np.float64)

    def _score(self, box: Points) -> float:
        outside = float(np.maximum(np.maximum(_MARGIN - box, box - 1 + _MARGIN), 0).max())
        to_labels = min(_distance(box, self.labels), 2 * _SPACING)
        to_lines = min(_distance(box, self.lines), _SPACING)
        return -10 * outside + to_lines + to_labels


def along(
    start: tuple[float, float], end: tuple[float, float], off: float, points: tuple[float, float]
) -> list[Place]:
    """Places beside a line, along it first, then level.

    Args:
        start: One end.
        end: The other; the same for a point.
        off: Distance from the line, in points.
        points: Width and height of the axes in points.
    """
    frame = np.array(points)
    first, step = np.array(start) * frame, (np.array(end) - np.array(start)) * frame
    length = float(np.hypot(*step))
    normal = np.array([-step[1], step[0]]) / length if length else np.array([0.0, 1.0])
    angle = float(np.degrees(np.arctan2(step[1], step[0])))
    angle = angle - 180 if angle > 90 else angle + 180 if angle <= -90 else angle
    shares = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)
    beside = [(first + step * s + side * off * normal) for s in shares for side in (1, -1)]
    level = [
        first + step * s + far * off * np.array(way)
        for s in shares
        for far in (2, 4, 6)
        for way in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
    ]
    turned = [Place(_share(at, frame), angle) for at in beside] if length else []
    return turned + [Place(_share(at, frame)) for at in level]


def inside(outlines: Sequence[Sequence[tuple[float, float]]], count: int = 40) -> list[Place]:
    """Places inside an outline and outside its holes; the middle of its corners if there are none."""
    from matplotlib.path import Path  # noqa: PLC0415 - only here

    shares = (np.arange(count) + 0.5) / count
    points = np.array([(x, y) for x in shares for y in shares])
    within = np.ones(len(points), dtype=bool)
    for i, outline in enumerate(outlines):
        contained = Path([*outline, outline[0]], closed=True).contains_points(points)
        within &= contained if i == 0 else ~contained
    centre = np.mean(np.array(outlines[0]), axis=0)
    chosen = points[within] if within.any() else np.array([centre])
    # The most inward ones first.
    edges = np.concatenate([_spread(np.array(a), np.array(b)) for ring in outlines for a, b in _sides(ring)])
    depth = np.array([np.hypot(*(edges - point).T).min() for point in chosen])
    return [Place((float(x), float(y))) for x, y in chosen[np.argsort(-depth)]]


def _share(at: Points, frame: Points) -> tuple[float, float]:
    return float(at[0] / frame[0]), float(at[1] / frame[1])


def _sides(
    ring: Sequence[tuple[float, float]],
) -> Iterable[tuple[tuple[float, float], tuple[float, float]]]:
    return zip(ring, [*ring[1:], ring[0]], strict=True)


def _spread(start: Points, end: Points) -> Points:
    """Points on a line."""
    count = max(2, int(np.hypot(*(end - start)) / _SPACING) + 1)
    return np.linspace(start, end, count)


def _distance(box: Points, others: Sequence[Points]) -> float:
    if not others:
        return np.inf
    taken = np.concatenate(others)
    return float(np.hypot(*(box[:, None, :] - taken[None, :, :]).transpose(2, 0, 1)).min())
