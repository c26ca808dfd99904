"""Vertices and drifts of seeds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.analysis.optimum import drift, vertex
from ipcore.analysis.welch import Contrast, contrast, slope_weights

OCTAVES = (-1.0, -0.5, 0.0, 0.5, 1.0)


@given(st.floats(-1, 1.25), st.floats(0.01, 5), st.floats(-3, 3), st.integers(-20, 20))
def test_the_vertex_of_a_parabola_is_exact(best, curvature, level, shift):
    octaves = [shift + o for o in OCTAVES]
    logs = [level + curvature * (o - shift - best) ** 2 for o in octaves]
    assert vertex(octaves, logs) == pytest.approx(shift + best, abs=1e-6)


@pytest.mark.parametrize(("best", "found"), [(-3.0, -1.0), (3.0, 1.25), (1.2, 1.2)])
def test_it_is_cut_to_the_window_and_a_quarter_octave(best, found):
    assert vertex(OCTAVES, [(o - best) ** 2 for o in OCTAVES]) == pytest.approx(found)


def test_a_concave_parabola_is_best_at_its_better_end():
    assert vertex(OCTAVES, [-((o - 0.2) ** 2) for o in OCTAVES]) == -1.0
    assert vertex(OCTAVES, [-((o + 0.2) ** 2) for o in OCTAVES]) == 1.0


def test_two_rates_are_no_parabola():
    with pytest.raises(ValueError, match="at least 3 rates, not 2"):
        vertex((0.0, 1.0), (1.0, 2.0))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(-1, 1))
def test_the_level_of_a_seed_cancels(levels, moves):
    widths = (128, 256, 512, 1024)
    optima = {s: [level + moves * i for i in range(4)] for s, level in enumerate(levels)}
    found = drift(widths, optima)
    assert found.value == pytest.approx(moves, abs=1e-9)
    assert found.se == pytest.approx(0, abs=1e-9)


def test_student_by_hand():
    """Drifts .1, .3 over one doubling: mean .2, se .1, one degree of freedom: t(.975) = 12.706."""
    found = drift((64, 128), {0: (0.0, 0.1), 1: (1.0, 1.3)})
    assert (found.value, found.se, found.df) == (pytest.approx(0.2), pytest.approx(0.1), 1.0)
    assert found.bounds(0.025) == pytest.approx((0.2 - 1.2706, 0.2 + 1.2706), abs=1e-3)


def test_contrasts_add_and_scale():
    left, right = Contrast(1.0, 0.3, 5.0), Contrast(2.0, 0.4, 7.0)
    both = left + right * -1
    assert (both.value, both.se) == (-1.0, pytest.approx(0.5))
    assert both.df == pytest.approx(0.25**2 / (0.09**2 / 5 + 0.16**2 / 7))
    assert (Contrast(1.0, 0.0, math.inf) + left).se == pytest.approx(0.3)


@given(st.integers(3, 6), st.integers(2, 5), st.integers(0, 2**20))
def test_equal_weights_of_a_contrast_is_the_mean_of_slopes(widths, seeds, key):
    """With as many seeds at every width the slope of means is the mean of slopes."""
    m = [64 * 2**i for i in range(widths)]
    values = np.random.default_rng(key).standard_normal((widths, seeds))
    weights = slope_weights(m)
    assert contrast(weights, list(values)).value == pytest.approx((weights @ values).mean())
