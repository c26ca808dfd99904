"""Joining of the cells of a division: areas of one label, the borders between them, and corners.

Cells on both sides of a piece with their label on it are one area. What remains are the pieces at which
something changes; those that continue each other are one border.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic

from ipcore.theory.plane.affine import Point, coordinates
from ipcore.theory.plane.cells import Division, Label
from ipcore.theory.plane.pieces import Piece, along_lines, pieces_by_line
from ipcore.theory.plane.rings import Ring, rings

Place = tuple[Fraction, Fraction]
"""(x, y)."""


@dataclass(frozen=True, slots=True)
class Area(Generic[Label]):
    """A connected open set with one label, without the borders inside it.

    Attributes:
        label: Label of its points; also of those on its outline that no border or corner names.
        outline: Its corners, counterclockwise.
        holes: Outlines of its holes, clockwise.
    """

    label: Label
    outline: tuple[Place, ...]
    holes: tuple[tuple[Place, ...], ...]


@dataclass(frozen=True, slots=True)
class Border(Generic[Label]):
    """A segment without its ends at which something changes.

    Attributes:
        start: One end.
        end: The other.
        label: Label of its points.
        sides: Labels of the areas on its left and right, seen from `start`; None: outside the rectangle.
    """

    start: Place
    end: Place
    label: Label
    sides: tuple[Label | None, Label | None]


@dataclass(frozen=True, slots=True)
class Corner(Generic[Label]):
    """An end of borders, or a single point with a label of its own.

    Attributes:
        at: Its place.
        label: Label of the point.
    """

    at: Place
    label: Label


@dataclass(frozen=True, slots=True)
class Joined(Generic[Label]):
    """A rectangle as areas, borders and corners; every point has one label.

    Attributes:
        areas: Connected open sets.
        borders: Between areas, and lines with a label of their own.
        corners: Ends of borders, and points with a label of their own.
    """

    areas: tuple[Area[Label], ...]
    borders: tuple[Border[Label], ...]
    corners: tuple[Corner[Label], ...]


def join(division: Division[Label]) -> Joined[Label]:
    """Areas, borders and corners of a division of a rectangle."""
    labels = [cell.label for cell in division.cells if len(cell.corners) > 2]
    lines = list(pieces_by_line(division))
    _number_areas([piece for pieces in lines for piece in pieces], labels)
    sides: dict[int, list[tuple[Point, Point]]] = defaultdict(list)
    for piece in (piece for pieces in lines for piece in pieces):
        if piece.left != piece.right:
            if piece.left is not None:
                sides[piece.left].append((piece.start, piece.end))
            if piece.right is not None:
                sides[piece.right].append((piece.end, piece.start))
    areas = []
    for area, of_area in sides.items():
        outline, *holes = rings(of_area)
        label = labels[area]
        assert label is not None  # noqa: S101 - undivided cells have one
        areas.append(Area(label, _places(outline), tuple(_places(hole) for hole in holes)))
    passed: set[Point] = set()
    borders = [border for pieces in lines for border in _borders(division, pieces, labels, passed)]
    return Joined(tuple(areas), tuple(borders), _corners(division, lines, borders, passed))


def _number_areas(pieces: Sequence[Piece[Label]], labels: Sequence[Label | None]) -> None:
    """Replace cells on the sides of pieces by one cell for all of an area."""
    owner = list(range(len(labels)))

    def area(cell: int) -> int:
        while owner[cell] != cell:
            owner[cell] = cell = owner[owner[cell]]
        return cell

    for piece in pieces:
        sides = piece.left, piece.right
        if sides[0] is not None and sides[1] is not None:
            left, right = labels[sides[0]], labels[sides[1]]
            if left == piece.label == right:
                owner[area(sides[0])] = area(sides[1])
    for piece in pieces:
        piece.left = None if piece.left is None else area(piece.left)
        piece.right = None if piece.right is None else area(piece.right)


def _borders(
    division: Division[Label],
    pieces: Sequence[Piece[Label]],
    labels: Sequence[Label | None],
    passed: set[Point],
) -> list[Border[Label]]:
    """The borders along one line; points inside them at which pieces end are added to `passed`."""
    found: list[Border[Label]] = []
    last: Piece[Label] | None = None
    for piece in pieces:
        left, right = (None if side is None else labels[side] for side in (piece.left, piece.right))
        inside = piece.left == piece.right or piece.left is None or piece.right is None
        if inside and piece.label == (right if left is None else left):
            last = None
            continue
        start, end = coordinates(piece.start), coordinates(piece.end)
        if (
            last is not None
            and last.end == piece.start
            and (last.left, last.right, last.label) == (piece.left, piece.right, piece.label)
            and division.label(piece.start) == piece.label
        ):
            start = found.pop().start
            passed.add(piece.start)
        found.append(Border(start, end, piece.label, (left, right)))
        last = piece
    return found


def _corners(
    division: Division[Label],
    lines: Sequence[Sequence[Piece[Label]]],
    borders: Sequence[Border[Label]],
    passed: set[Point],
) -> tuple[Corner[Label], ...]:
    ends = {end for border in borders for end in (border.start, border.end)}
    around: dict[Point, list[Label]] = defaultdict(list)
    for piece in (piece for pieces in lines for piece in pieces):
        around[piece.start].append(piece.label)
        around[piece.end].append(piece.label)
    found = []
    for at in sorted(around, key=along_lines):
        label = division.label(at)
        alone = at not in passed and any(other != label for other in around[at])
        if coordinates(at) in ends or alone:
            found.append(Corner(coordinates(at), label))
    return tuple(found)


def _places(ring: Ring) -> tuple[Place, ...]:
    return tuple(coordinates(at) for at in ring)
