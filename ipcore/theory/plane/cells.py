"""Division of a rectangle of the plane into convex sets on which a calculation has one result.

The calculation runs at a point of a set; the first question that other points of the set answer otherwise
splits it, and so on to the last. What was split off waits for its own run. "Is g > 0?" has two answers, g > 0
and g <= 0, so the sets are half-open polygons, segments and points that cover the rectangle without overlap,
and every one is proved by a run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, pairwise
from typing import Generic, TypeVar

from ipcore.theory.plane.affine import Form, Point, Record, reduced, value

Label = TypeVar("Label")


@dataclass(slots=True)
class Cell(Generic[Label]):
    """A convex set: the hull of its corners, without the points at which a form of `above` is not > 0.

    Attributes:
        corners: Counterclockwise; two for a segment, one for a point.
        above: Forms that are > 0 in the set.
        asked: Form by which it is divided further; None: not divided.
        parts: Where the form is > 0, and where not.
        label: The result in all of it, if it is not divided.
    """

    corners: tuple[Point, ...]
    above: tuple[Form, ...]
    asked: Form | None = None
    parts: tuple[Cell[Label], ...] = ()
    label: Label | None = None


@dataclass(slots=True)
class Division(Generic[Label]):
    """A rectangle and its cells.

    Attributes:
        root: All of it.
        cells: The undivided ones, each with a label.
    """

    root: Cell[Label]
    cells: list[Cell[Label]] = field(default_factory=list)

    def label(self, at: Point) -> Label:
        """The result at a point of the rectangle."""
        cell = self.root
        while cell.asked is not None:
            cell = cell.parts[0 if value(cell.asked, at) > 0 else 1]
        assert cell.label is not None  # noqa: S101 - undivided cells have one
        return cell.label


def divide(
    corners: Sequence[Point], calculation: Callable[[Record], Label], *, most: int, undecided: Label
) -> Division[Label]:
    """Divide a convex polygon, large sets first.

    Args:
        corners: Counterclockwise, at least 3.
        calculation: Its result depends on the two free exponents of the record alone.
        most: Additions and comparisons (`Record.work`) that are allowed; a run counts as 100 beside its own.
        undecided: The label of sets for which no work is left.
    """
    division: Division[Label] = Division(Cell(tuple(corners), ()))
    numbers = count()
    waiting = [(_urgency(division.root), next(numbers), division.root)]
    while waiting:
        cell = heappop(waiting)[-1]
        if most < 0:
            cell.label = undecided
            division.cells.append(cell)
            continue
        record = Record(inner_point(cell.corners))
        label = calculation(record)
        for form, answer in record.answers.items():
            yes, no = _part(cell, form, answer=True), _part(cell, form, answer=False)
            if yes is None or no is None:
                continue
            cell.asked, cell.parts = form, (yes, no)
            cell, other = (yes, no) if answer else (no, yes)
            heappush(waiting, (_urgency(other), next(numbers), other))
        cell.label = label
        division.cells.append(cell)
        most -= 100 + record.work
    return division


def _urgency(cell: Cell[Label]) -> float:
    """The smaller, the sooner: segments and points, on which regimes of their own hold, then large areas."""
    if len(cell.corners) < 3:
        return -math.inf
    (x, y), *others = [(X / W, Y / W) for X, Y, W in cell.corners]
    return -sum((p - x) * (v - y) - (u - x) * (q - y) for (p, q), (u, v) in pairwise(others))


def inner_point(corners: Sequence[Point]) -> Point:
    """A point in the (relative) interior of the corners' hull: a mean with weights W."""
    X, Y, W = (sum(entry) for entry in zip(*corners, strict=True))
    return reduced((X, Y, W))


def _part(cell: Cell[Label], form: Form, *, answer: bool) -> Cell[Label] | None:
    """The points of a cell that give an answer; None: there are none."""
    c, p, q = form
    toward = form if answer else (-c, -p, -q)
    corners = _clipped(cell.corners, toward)
    if not corners:
        return None
    above = (*cell.above, form) if answer else cell.above
    if len(corners) < 3:
        # A side or a corner belongs to the cell unless a form of `above` is 0 there.
        inside = inner_point(corners)
        if any(value(strict, inside) <= 0 for strict in above):
            return None
    return Cell(corners, above)


def _clipped(corners: tuple[Point, ...], form: Form) -> tuple[Point, ...]:
    """The corners of the hull's part where a form is >= 0."""
    values = [value(form, corner) for corner in corners]
    if min(values) >= 0:
        return corners
    kept: list[Point] = []
    for i, (at, here) in enumerate(zip(corners, values, strict=True)):
        if here >= 0:
            kept.append(at)
        following, there = corners[(i + 1) % len(corners)], values[(i + 1) % len(corners)]
        if here * there < 0:
            kept.append(_crossing(at, here, following, there))
    return tuple(dict.fromkeys(kept))


def _crossing(left: Point, at_left: int, right: Point, at_right: int) -> Point:
    """The point at which a form is 0, between two points with the given values of different sign."""
    x, y, w = (at_left * r - at_right * s for r, s in zip(right, left, strict=True))
    return reduced((x, y, w) if w > 0 else (-x, -y, -w))
