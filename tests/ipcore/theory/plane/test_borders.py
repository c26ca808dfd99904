"""Divisions of a rectangle, and their areas, borders and corners, against the calculation at many points."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory.plane.affine import Record, point
from ipcore.theory.plane.borders import Border, Corner, Joined, join
from ipcore.theory.plane.cells import divide
from ipcore.theory.plane.locate import label_at

Rule = Callable[[Any, Any], str]
LOW, HIGH = Fraction(-2), Fraction(2)
SQUARE = [point(x, y) for x, y in ((LOW, LOW), (HIGH, LOW), (HIGH, HIGH), (LOW, HIGH))]
eighths = st.integers(-16, 16).map(lambda k: Fraction(k, 8))


def map_of(rule: Rule, most: int = 10**6) -> Joined[str]:
    return join(divide(SQUARE, lambda record: rule(*record.free()), most=most, undecided="undecided"))


def twice_area(ring: tuple[tuple[Fraction, Fraction], ...]) -> Fraction:
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    return sum((x * v - u * y for (x, y), (u, v) in pairs), Fraction(0))


def check(found: Joined[str], rule: Rule, points: list[tuple[Fraction, Fraction]]) -> None:
    """Areas fill the square, and every point has the label that the rule gives it."""
    rings = [ring for area in found.areas for ring in (area.outline, *area.holes)]
    assert sum(map(twice_area, rings)) == 2 * (HIGH - LOW) ** 2
    ends = [at for border in found.borders for at in (border.start, border.end)]
    third = Fraction(1, 3)
    between = [
        tuple(third * s + (1 - third) * e for s, e in zip(b.start, b.end, strict=True)) for b in found.borders
    ]
    for x, y in [*points, *ends, *between, *(at for ring in rings for at in ring)]:
        assert label_at(found, (x, y)) == rule(x, y)


def test_a_triangle_in_a_square_is_a_hole_with_a_closed_outline() -> None:
    def rule(x: Any, y: Any) -> str:
        return "in" if x >= 0 and y >= 0 and x + y <= 1 else "out"

    found = map_of(rule)
    outer, inner = sorted(found.areas, key=lambda area: area.label, reverse=True)
    triangle = {(Fraction(x), Fraction(y)) for x, y in ((0, 0), (1, 0), (0, 1))}
    assert (outer.label, inner.label) == ("out", "in")
    assert set(inner.outline) == triangle
    assert [set(hole) for hole in outer.holes] == [triangle]
    assert len(outer.outline) == 4
    assert [border.label for border in found.borders] == ["in"] * 3
    assert {corner.at for corner in found.corners} == triangle
    check(found, rule, [(Fraction(1, 2), Fraction(1, 2)), (Fraction(1, 2), Fraction(5, 8))])


def test_a_line_and_a_point_of_their_own_do_not_cut_an_area() -> None:
    def rule(x: Any, y: Any) -> str:
        if x == y and -1 <= x < 1:
            return "line"
        return "point" if x == -1 and y == 1 else "rest"

    found = map_of(rule)
    assert [(area.label, area.holes) for area in found.areas] == [("rest", ())]
    half = Fraction(1)
    assert found.borders == (Border((-half, -half), (half, half), "line", ("rest", "rest")),)
    assert set(found.corners) == {
        Corner((-half, -half), "line"),
        Corner((half, half), "rest"),
        Corner((-half, half), "point"),
    }
    check(found, rule, [(Fraction(0), Fraction(0)), (Fraction(-1), Fraction(1)), (half, Fraction(0))])


def test_areas_that_meet_at_a_point_alone_are_two() -> None:
    found = map_of(lambda x, y: "same" if (x > 0) == (y > 0) else "other")
    assert sorted(area.label for area in found.areas) == ["other", "other", "same", "same"]
    check(found, lambda x, y: "same" if (x > 0) == (y > 0) else "other", [(Fraction(0), Fraction(0))])


def test_an_area_that_touches_itself_keeps_one_outline() -> None:
    def rule(x: Any, y: Any) -> str:  # a ring with its hole in a corner of its inner side
        size = max(x, -x, y, -y)
        return "in" if size < 1 or (size == 1 and x == 1 and y == 1) else "ring"

    check(map_of(rule), rule, [(Fraction(1), Fraction(1)), (Fraction(0), Fraction(0))])

    def pinched(x: Any, y: Any) -> str:
        return "a" if (x > 0 and y > 0) or (x < -1 and y > 0) or (y < 0 and not (x > 0 and y < -x)) else "b"

    check(map_of(pinched), pinched, [(Fraction(0), Fraction(0)), (Fraction(0), Fraction(1))])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(eighths, eighths, eighths), min_size=1, max_size=5),
    st.lists(st.sampled_from([">", ">=", "=="]), min_size=5, max_size=5),
    st.lists(st.tuples(eighths, eighths), min_size=6, max_size=6),
)
def test_random_rules(forms: Any, asks: Any, points: Any) -> None:
    def rule(x: Any, y: Any) -> str:
        largest = max(c + p * x + q * y for c, p, q in forms)
        found = ""
        for (c, p, q), ask in zip(forms, asks, strict=False):
            left, right = 2 * p * x - q * y, largest - c
            found += str(int({">": left > right, ">=": left >= right, "==": left == right}[ask]))
        return found

    found = map_of(rule)
    check(found, rule, points)
    assert label_at(found, (HIGH + 1, LOW)) is None


def test_work_is_bounded() -> None:
    def comb(x: Any, y: Any) -> str:
        return str(sum(x > Fraction(k, 100) for k in range(100)))

    few = map_of(comb, most=1_000)
    assert {area.label for area in few.areas} > {"undecided"}
    everything = map_of(comb)
    assert len(everything.areas) == 101
    # What is decided is right.
    for x in (Fraction(k, 37) for k in range(-37, 38)):
        found = label_at(few, (x, Fraction(1, 3)))
        assert found in {"undecided", label_at(everything, (x, Fraction(1, 3)))}


def test_the_record_counts_work() -> None:
    record = Record(point(Fraction(1), Fraction(1)))
    x, y = record.free()
    assert x + y > 1
    assert record.work == 2
