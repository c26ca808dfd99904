"""The sides of cells, cut at the corners of all cells.

A label is constant on a piece, since no cell ends inside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import pairwise
from typing import Generic

from ipcore.theory.plane.affine import Form, Point, reduced, value
from ipcore.theory.plane.cells import Division, Label, inner_point


@dataclass(slots=True)
class Piece(Generic[Label]):
    """A part of cells' sides, without its ends.

    Attributes:
        start: The end with smaller x, or y where x is the same.
        end: The other.
        label: Label of its points.
        left: Index, among the division's polygons, of the cell on its left seen from `start`; None: outside.
        right: Likewise, of the cell on its right.
    """

    start: Point
    end: Point
    label: Label
    left: int | None = None
    right: int | None = None


def pieces_by_line(division: Division[Label]) -> Iterator[list[Piece[Label]]]:
    """The pieces of every line that carries a side of a polygon, in order along it."""
    points: dict[Form, set[Point]] = defaultdict(set)
    sides: dict[Form, list[tuple[Point, Point, int]]] = defaultdict(list)
    polygons = 0
    for cell in division.cells:
        corners = cell.corners
        for start, end in zip(corners, (*corners[1:], corners[0]), strict=True):
            if start == end:
                continue  # a point has no sides
            line = _through(start, end)
            points[line] |= {start, end}
            if len(corners) > 2:
                sides[line].append((start, end, polygons))
        polygons += len(corners) > 2
    for cell in division.cells:
        if len(cell.corners) == 1:
            for line, known in points.items():
                if value(line, cell.corners[0]) == 0:
                    known.add(cell.corners[0])
    for line, known in points.items():
        yield _pieces(division, sorted(known, key=along_lines), sides[line])


def _pieces(
    division: Division[Label], points: list[Point], sides: list[tuple[Point, Point, int]]
) -> list[Piece[Label]]:
    place = {at: i for i, at in enumerate(points)}
    pieces = [Piece(start, end, division.label(inner_point((start, end)))) for start, end in pairwise(points)]
    for start, end, cell in sides:
        # Cells lie to the left of their sides.
        for i in range(place[start], place[end]):
            pieces[i].left = cell
        for i in range(place[end], place[start]):
            pieces[i].right = cell
    # Between the sides of different cells a line may pass through cells that it does not bound.
    return [piece for piece in pieces if piece.left is not None or piece.right is not None]


def _through(left: Point, right: Point) -> Form:
    """The form that is 0 on the line through two points; the same for all pairs of its points."""
    (x, y, w), (u, v, t) = left, right
    c, p, q = reduced((x * v - y * u, y * t - w * v, w * u - x * t))
    return (-c, -p, -q) if (p or q) < 0 else (c, p, q)


def _order(left: Point, right: Point) -> int:
    return left[0] * right[2] - right[0] * left[2] or left[1] * right[2] - right[1] * left[2]


along_lines = cmp_to_key(_order)
"""Key that sorts points by x, then by y: one direction along every line."""
