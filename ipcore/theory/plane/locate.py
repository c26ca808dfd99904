"""The label of a point, from areas, borders and corners alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ipcore.theory.plane.borders import Joined, Place
from ipcore.theory.plane.cells import Label


def label_at(joined: Joined[Label], at: Place) -> Label | None:
    """The label of a point; None: outside the rectangle."""
    for corner in joined.corners:
        if corner.at == at:
            return corner.label
    for border in joined.borders:
        if _on(border.start, border.end, at):
            return border.label
    # An outline that no border names belongs to its area: the side of the rectangle.
    found = (area.label for area in joined.areas if _within([area.outline, *area.holes], at))
    return next(found, None)


def _on(start: Place, end: Place, at: Place) -> bool:
    """Whether a point lies on a closed segment."""
    (x, y), (u, v), (s, t) = start, end, at
    if (u - x) * (t - y) != (v - y) * (s - x):
        return False
    return min(x, u) <= s <= max(x, u) and min(y, v) <= t <= max(y, v)


def _within(outlines: Sequence[Sequence[Place]], at: Place) -> bool:
    """Whether a point lies inside closed outlines or on one; a ray to the right crosses them oddly often."""
    x, y = at
    inside = False
    for outline in outlines:
        for (u, v), (s, t) in pairwise([*outline, outline[0]]):
            if _on((u, v), (s, t), at):
                return True
            if (v > y) != (t > y) and x < u + (y - v) * (s - u) / (t - v):
                inside = not inside
    return inside
