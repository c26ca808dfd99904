"""Sums of powers of the width: crossovers and local slopes."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.theory import Power, TheoryError, crossover, fitted_slope, local_slope, sum_at

ZERO, HALF = Fraction(0), Fraction(1, 2)
WIDTHS = (128, 256, 512, 1024)

exponents = st.fractions(-3, 3, max_denominator=8)
sizes = st.floats(1e-3, 1e3)
powers = st.lists(
    st.builds(Power, exponents, sizes, st.sampled_from([1.0, 64.0, 500.0])), min_size=1, max_size=5
)


@pytest.mark.parametrize(("crossing", "slope"), [(12399, -0.48), (834, -0.34), (46, -0.06)])
def test_slopes_of_an_output_that_starts_at_m_to_the_minus_half(crossing, slope):
    """muP's |f_1|: f_0 goes like m^-1/2 and the change like 1. They are equal at (B/A)^2.

    The line through 128..1024 was measured to have slopes -.50, -.34, -.06 at base rates .05, .2, 1.
    """
    change, start = Power(ZERO, 1.0), Power(-HALF, math.sqrt(crossing))
    assert crossover(change, start) == pytest.approx(crossing)
    total = [sum_at([change, start], m) for m in WIDTHS]
    assert fitted_slope(total, WIDTHS) == pytest.approx(slope, abs=0.005)


def test_the_slope_by_hand():
    """3 and 4 m^-1/2 at m = 4: 3 and 2, so R = 4/9 and the slope is -1/2 * (4/9) / (13/9) = -2/13."""
    both = [Power(ZERO, 3.0), Power(-HALF, 4.0)]
    assert sum_at(both, 4) == pytest.approx(math.sqrt(13))
    assert local_slope(both, 4) == pytest.approx(-2 / 13)
    assert crossover(*both) == pytest.approx(16 / 9)


@given(first=exponents, second=exponents, a=sizes, b=sizes)
def test_at_the_crossover_the_slope_is_half_way(first, second, a, b):
    both = [Power(first, a, 64.0), Power(second, b, 500.0)]
    crossing = crossover(*both)
    if first == second:
        assert crossing is None
        return
    assert crossing == crossover(*reversed(both)) or crossing == pytest.approx(crossover(*reversed(both)))
    if 1e-30 < crossing < 1e30:
        assert both[0].at(crossing) == pytest.approx(both[1].at(crossing), rel=1e-6)
        assert local_slope(both, crossing) == pytest.approx(float(first + second) / 2, abs=1e-6)


@given(first=exponents, second=exponents, a=sizes, b=sizes, width=st.floats(2, 1e6))
def test_two_parts_follow_the_formula(first, second, a, b, width):
    ratio = (b / a) ** 2 * width ** (2 * float(second - first))
    expected = float(first) - float(first - second) * ratio / (1 + ratio)
    assert local_slope([Power(first, a), Power(second, b)], width) == pytest.approx(expected, abs=1e-9)


@given(parts=powers, width=st.floats(2, 1e6))
def test_the_local_slope_is_the_derivative_and_lies_among_the_exponents(parts, width):
    step = 1e-4
    logs = [math.log(sum_at(parts, width * math.exp(sign * step))) for sign in (1, -1)]
    slope = local_slope(parts, width)
    assert slope == pytest.approx((logs[0] - logs[1]) / (2 * step), abs=1e-5)
    assert (
        float(min(p.exponent for p in parts)) - 1e-9 <= slope <= float(max(p.exponent for p in parts)) + 1e-9
    )


@given(a=sizes, b=sizes, gap=st.fractions(Fraction(1, 8), 3, max_denominator=8), first=exponents)
def test_far_beyond_the_crossover_the_larger_exponent_leads(a, b, gap, first):
    both = [Power(first, a), Power(first - gap, b)]
    # R falls like (m/m*)^(-2 gap).
    beyond = crossover(*both) * 1e4 ** (1 / float(gap))
    assert local_slope(both, beyond) == pytest.approx(float(first), abs=1e-7)


def test_sizes_beyond_what_a_double_holds_still_have_a_slope():
    both = [Power(Fraction(400), 1.0), Power(Fraction(399), 1.0)]
    assert sum_at(both, 1e3) == math.inf
    assert local_slope(both, 1e3) == pytest.approx(400, abs=1e-5)
    assert local_slope(both, 1e-3) == pytest.approx(399, abs=1e-5)  # both underflow


def test_nothing_crosses_what_is_zero():
    assert crossover(Power(ZERO, 1.0), Power(-HALF, 0.0)) is None
    assert crossover(Power(Fraction(1, 1000), 1e-300), Power(ZERO, 1e300)) == math.inf


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Power(ZERO, -1.0), "size"),
        (lambda: Power(ZERO, math.nan), "size"),
        (lambda: Power(ZERO, 1.0, 0.0), "width"),
        (lambda: local_slope([], 4), "powers"),
        (lambda: local_slope([Power(ZERO, 0.0)], 4), "powers"),
        (lambda: fitted_slope([1.0], [4]), "widths"),
        (lambda: fitted_slope([1.0, 0.0], [4, 8]), "sizes[1]"),
        (lambda: fitted_slope([1.0, 2.0], [4, math.nan]), "widths[1]"),
    ],
)
def test_what_has_no_slope_is_refused(make, field):
    with pytest.raises(TheoryError) as refused:
        make()
    assert refused.value.field == field
