"""Closed outlines from the sides of an area."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import cmp_to_key
from itertools import pairwise

from ipcore.theory.plane.affine import Point, coordinates

Ring = tuple[Point, ...]


def rings(sides: Iterable[tuple[Point, Point]]) -> list[Ring]:
    """The outlines of an area: one counterclockwise, and clockwise those of its holes.

    Args:
        sides: Directed so that the area lies to their left; they close.

    Returns:
        Each without corners at which it goes straight on.
    """
    onward: dict[Point, list[Point]] = defaultdict(list)
    for start, end in sides:
        onward[start].append(end)
    found = []
    while onward:
        start = min(onward)
        ring = [start, onward[start][0]]
        while True:
            back, here = ring[-2], ring[-1]
            # Where the area touches itself, stay in the sector that the last side bounds.
            following = min(onward[here], key=cmp_to_key(_clockwise(here, back)))
            if [here, following] == ring[:2]:
                break
            ring.append(following)
        for here, following in pairwise(ring):
            onward[here].remove(following)
            if not onward[here]:
                del onward[here]
        found.append(_turning(ring[:-1]))
    return sorted(found, key=signed_area, reverse=True)


def signed_area(ring: Ring) -> Fraction:
    """Twice the area, positive for counterclockwise outlines.

    >>> signed_area(((0, 0, 1), (1, 0, 2), (0, 1, 1)))
    Fraction(1, 2)
    """
    plane = [coordinates(at) for at in ring]
    pairs = zip(plane, [*plane[1:], plane[0]], strict=True)
    return sum((x * v - u * y for (x, y), (u, v) in pairs), Fraction(0))


def turn(a: Point, b: Point, c: Point) -> int:
    """Positive where a, b, c turn left, 0 where they lie on a line."""
    return (
        a[0] * (b[1] * c[2] - c[1] * b[2])
        - a[1] * (b[0] * c[2] - c[0] * b[2])
        + a[2] * (b[0] * c[1] - c[0] * b[1])
    )


def _turning(ring: list[Point]) -> Ring:
    around = zip([ring[-1], *ring[:-1]], ring, [*ring[1:], ring[0]], strict=True)
    return tuple(at for before, at, after in around if turn(before, at, after) != 0)


def _clockwise(here: Point, back: Point) -> Callable[[Point, Point], int]:
    """Order of points by the angle, above 0, by which one turns clockwise at `here` from `back` to them."""
    bx, by = _vector(here, back)

    def quarter(at: Point) -> int:
        x, y = _vector(here, at)
        cross = bx * y - by * x
        if cross == 0:
            return 3 if bx * x + by * y > 0 else 1
        return 0 if cross < 0 else 2

    def order(left: Point, right: Point) -> int:
        (x, y), (u, v) = _vector(here, left), _vector(here, right)
        return quarter(left) - quarter(right) or x * v - y * u

    return order


def _vector(start: Point, end: Point) -> tuple[int, int]:
    """From one point to another, up to a positive factor."""
    return end[0] * start[2] - start[0] * end[2], end[1] * start[2] - start[1] * end[2]
