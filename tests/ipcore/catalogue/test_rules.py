"""Rules of settings: accepted values and error messages."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.catalogue.choices import BIASES
from ipcore.catalogue.formats import DOUBLE, SINGLE
from ipcore.catalogue.rules import AtMostInSingle, Held, Interval, OneOf


@pytest.mark.parametrize(
    ("interval", "value", "message"),
    [
        (Interval(1), 0, "must be at least 1, not 0"),
        (Interval(0), math.inf, "must be finite and at least 0, not inf"),
        (Interval(0), math.nan, "must be at least 0, not nan"),
        (Interval(0, 1, "[)"), 1.0, "must be at least 0 and less than 1, not 1.0"),
        (Interval(0, 1, "()"), 0.0, "must lie between 0 and 1, not 0.0"),
        (Interval(0, 1, "(]"), 0.0, "must be more than 0 and at most 1, not 0.0"),
        (Interval(1, 10_000_000), 0, "must lie in 1 .. 10,000,000, not 0"),
        (Held(), 1e-40, "must be a finite number above 0 that training can hold (1e-36 .. 1e+36), not 1e-40"),
        (Held(or_zero=True), -1.0, "must be 0 or a number that training can hold (1e-36 .. 1e+36), not -1.0"),
        (AtMostInSingle(0.9, "why"), 0.95, "must be at most 0.9, not 0.95: why"),
        (
            OneOf("bias", BIASES),
            "frist",
            "unknown bias 'frist'; did you mean 'first'? There are: first, none",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_value_and_what_is_allowed(interval, value, message):
    assert interval.problem(value, SINGLE) == message


@given(st.floats(allow_nan=True), st.sampled_from(["[]", "[)", "(]", "()"]))
def test_an_interval_holds_what_lies_between_its_ends(value: float, ends):
    inside = 0 < value < 1 or (value == 0 and ends[0] == "[") or (value == 1 and ends[1] == "]")
    assert (Interval(0, 1, ends).problem(value, SINGLE) == "") == inside


def test_bounds_of_single_precision_do_not_bind_double():
    assert AtMostInSingle(0.9, "why").problem(0.95, DOUBLE) == ""
    assert Held().problem(1e-200, DOUBLE) == ""
