"""Numbers as text: digits and form, and no misleading digits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iplab.results.numbers import decimals, mean_and_deviation, number
from iplab.results.summary import spread


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5127289328727264067584.0, "5.127e+21"),
        (0.1, "0.1"),
        (1.0, "1"),
        (2.302585, "2.303"),
        (23.02585, "23.03"),
        (2302.585, "2303"),
        (98765.4, "98765"),
        (999499.4, "999499"),
        (999999.4, "1e+06"),
        (999999.9, "1e+06"),
        (1234567.0, "1.235e+06"),
        (0.00012345, "0.0001234"),
        (0.00001234, "1.234e-05"),
        (9.99999, "10"),
        (0.0999999, "0.1"),
        (-0.0, "0"),
        (5e-324, "4.941e-324"),
        (1.7976931348623157e308, "1.798e+308"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (1437, "1437"),
        (10**30, "1" + "0" * 30),
        (np.float32(0.1), "0.1"),
        (np.int64(7), "7"),
    ],
)
def test_numbers(value, shown):
    assert number(value) == shown
    if value > 0:
        assert number(-value) == f"-{shown}"


@given(st.floats(-1e308, 1e308), st.integers(2, 8))
def test_what_is_shown_is_the_number_to_so_many_digits(value, digits):
    text = number(value, digits)
    assert float(text) == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits), abs=0)
    assert len(text) <= digits + 8  # sign, point, exponent; or six digits before the point, or zeros after it
    assert text != "-0"


@given(st.floats(-1e7, 1e7), st.integers(0, 4))
def test_decimals_stand_below_each_other(value, places):
    text = decimals(value, places)
    if abs(value) < 1e6:
        assert len(text.partition(".")[2]) == places
        assert abs(float(text) - value) <= 0.5 * 10.0**-places * 1.0001
    assert not (text.startswith("-") and float(text) == 0)


@pytest.mark.parametrize(
    ("mean", "deviation", "shown"),
    [
        (0.937, 0.0446, "0.9370 ± 0.0446"),
        (0.0, 0.0, "0.0000 ± 0.0000"),
        (0.937, 0.0, "0.9370 ± 0.0000"),
        (0.937, 3e-7, "0.9370 ± 3e-07"),
        (2.5, 3e9, "2.5000 ± 3e+09"),
        (1e-7, 2.5e-8, "1e-07 ± 2.5e-08"),
        (5127289328727264067584.0, None, "5.127e+21"),
        (5127289328727264067584.0, 1e20, "5.127e+21 ± 1e+20"),
        (123.456, 7.89, "123.5 ± 7.89"),
        (math.inf, math.nan, "inf ± nan"),
    ],
)
def test_means_and_deviations(mean, deviation, shown):
    assert mean_and_deviation(mean, deviation) == shown


def test_the_mean_of_numbers_near_the_largest_does_not_overflow():
    assert spread([1.5e308, 1.5e308]).mean == 1.5e308
    assert str(spread([math.inf, 1.0])) == "inf ± nan"
