"""Numbers with unknowns against plain fractions."""

from __future__ import annotations

import operator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory.plane.affine import Affine, Record, coordinates, point, value

fractions = st.builds(Fraction, st.integers(-20, 20), st.sampled_from([1, 2, 3, 8]))


@settings(max_examples=80, deadline=None)
@given(fractions, fractions, st.lists(st.tuples(st.sampled_from("+-r*/n"), fractions, fractions), max_size=6))
def test_it_calculates_as_fractions_do_at_its_point(x, y, steps) -> None:
    record = Record(point(x, y))
    unknown_x, unknown_y = record.free()
    there, here = unknown_x, x
    for what, constant, share in steps:
        other, plain = share * unknown_y + constant, share * y + constant
        match what:
            case "+":
                there, here = there + other, here + plain
            case "-":
                there, here = there - other, here - plain
            case "r":
                there, here = constant - there, constant - here
            case "*":
                there, here = there * share, here * share
            case "/":
                there, here = (there / share, here / share) if share else (there, here)
            case "n":
                there, here = -there, -here
        for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
            assert compare(there, other) == compare(here, plain)
            # Here the fraction's method is called first.
            assert compare(constant, there) == compare(constant, here)
        assert max(there, other, constant) == max(here, plain, constant)
    for form, answer in record.answers.items():
        assert (value(form, point(x, y)) > 0) == answer


def test_questions_are_forms_without_common_factors() -> None:
    record = Record(point(Fraction(1), Fraction(0)))
    x, y = record.free()
    assert 4 * x > 2 * y + 6 * Fraction(1, 3) * x
    assert record.answers == {(0, 1, -1): True}
    # If unknowns cancel, the sign needs no case distinction.
    assert x - x == 0
    assert isinstance(x - x, Fraction)
    assert len(record.answers) == 1


def test_what_cannot_be_followed_is_refused() -> None:
    x, y = Record(point(Fraction(1), Fraction(2))).free()
    for wrong in (lambda: x * y, lambda: 1 / x, lambda: hash(x), lambda: x.numerator, lambda: float(x)):
        with pytest.raises((TypeError, AttributeError)):
            wrong()
    assert x != "x"
    assert isinstance(x, Affine)
    assert coordinates(point(Fraction(1, 2), Fraction(-2, 3))) == (Fraction(1, 2), Fraction(-2, 3))
