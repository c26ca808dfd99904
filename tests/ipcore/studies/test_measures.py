"""Verdict rules at one look, by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.analysis.welch import Contrast
from ipcore.studies import Verdict
from ipcore.studies.measures.boundaries import between_signs
from ipcore.studies.measures.means import Remainder, below_or_within
from ipcore.studies.measures.slopes import Trend, against_band
from ipcore.studies.predictions import Band
from ipcore.studies.question import SLOPE_WIDTHS

ZERO = Band(0, 0)
B = 0.0791  # of 64..1024
ERROR = 0.025  # with many degrees of freedom a bound lies 1.96 se away


def judged(value, se, *, band=ZERO, limit=None, limit_se=None, hidden=False, bend=0.0):
    slope = Contrast(value, se, 1e9)
    free = Contrast(value if limit is None else limit, 6 * se if limit_se is None else limit_se, 1e9)
    bent = Contrast(bend, 3 * se, 1e9)
    return against_band(slope, free, bent, SLOPE_WIDTHS, band, 0.1, ERROR, hidden=hidden)


@pytest.mark.parametrize(
    ("value", "se", "limit", "verdict"),
    [
        (0.05, 0.02, None, Verdict.AGREES),  # .01 .. .09
        (0.05, 0.03, None, Verdict.UNDECIDED),  # .. .109
        (0.05, 0.02, 0.5, Verdict.UNDECIDED),  # without the next order .26 .. .74
        (0.25, 0.03, None, Verdict.DISAGREES),  # .191 > .1 + B
        (0.22, 0.03, None, Verdict.UNDECIDED),  # .161 < .1 + B
        (0.22, 0.03, 0.5, Verdict.DISAGREES),  # .161 and .147 > .1
        (-0.25, 0.03, None, Verdict.DISAGREES),
        (-0.22, 0.03, -0.5, Verdict.DISAGREES),
    ],
)
def test_the_rule_by_hand(value, se, limit, verdict):
    assert judged(value, se, limit=limit).verdict is verdict


def test_a_slope_that_moves_toward_the_prediction_does_not_disagree():
    assert judged(0.5, 0.02, bend=0.5).verdict is Verdict.DISAGREES  # away from it
    assert judged(0.5, 0.02, bend=-0.1).verdict is Verdict.DISAGREES  # no more than the next order bends
    assert judged(0.5, 0.02, bend=-0.5).verdict is Verdict.UNDECIDED
    assert judged(-0.5, 0.02, bend=0.5).verdict is Verdict.UNDECIDED


def test_an_interval_as_prediction():
    band = Band(-1, -1 / 2)
    for value, verdict in ((-0.75, Verdict.AGREES), (-0.45, Verdict.AGREES), (0.0, Verdict.DISAGREES)):
        assert judged(value, 0.01, band=band).verdict is verdict
    upper = Band(None, 0)
    assert judged(-3.0, 0.01, band=upper).verdict is Verdict.AGREES
    assert judged(1.0, 0.01, band=upper).verdict is Verdict.DISAGREES


def test_without_a_prediction_a_short_interval_decides():
    silent = Band.silent("theory does not say")
    assert judged(3.0, 0.05, band=silent).verdict is Verdict.NO_PREDICTION  # 0.196 long
    assert judged(3.0, 0.0515, band=silent).verdict is Verdict.UNDECIDED  # 0.202 long


def test_too_small_a_sum_is_undecided_and_hopeless():
    found = judged(-0.5, 0.01, hidden=True)
    assert (found.verdict, found.hopeless) == (Verdict.UNDECIDED, True)
    assert judged(0.5, 0.01, hidden=True).verdict is Verdict.DISAGREES


@given(st.floats(-2, 2), st.floats(0.001, 0.5), st.floats(1.001, 5))
def test_more_certainty_never_turns_a_verdict_round(value, se, times):
    """With the same estimate shorter intervals keep what was decided."""
    before, after = judged(value, se), judged(value, se / times)
    if before.verdict is Verdict.DISAGREES:
        assert after.verdict is Verdict.DISAGREES
    if before.verdict is Verdict.AGREES:
        assert after.verdict is not Verdict.DISAGREES


@given(st.floats(-1, 1), st.floats(0.001, 0.3), st.floats(-3, 3))
def test_verdicts_do_not_depend_on_where_the_prediction_lies(value, se, shift):
    there = judged(value + shift, se, band=Band(shift, shift))
    here = judged(value, se)
    edges = (0.1, 0.1 + B)
    near = min(abs(abs(value) + s * f * se - e) for s in (-1, 1) for f in (1.96, 11.76) for e in edges)
    assert there.verdict is here.verdict or near < 1e-3


@pytest.mark.parametrize(
    ("slope", "falls", "verdict"),
    [
        (-0.5, True, Verdict.AGREES),
        (-0.5, None, Verdict.NO_PREDICTION),
        (-0.5, False, Verdict.UNDECIDED),  # what stays may be hidden
        (0.0, True, Verdict.DISAGREES),
        (0.0, False, Verdict.AGREES),
    ],
)
def test_trends(slope, falls, verdict):
    noise = np.random.default_rng(0)

    def values(width, seeds):
        return slope * math.log(width) + 0.05 * noise.standard_normal(seeds)

    assert Trend(values, falls).judge(SLOPE_WIDTHS, (32, 8, 4, 4, 4), 0.006).verdict is verdict


def test_means_against_a_bound():
    for value, verdict in ((0.5, Verdict.AGREES), (1.0, Verdict.UNDECIDED), (1.5, Verdict.DISAGREES)):
        assert below_or_within(Contrast(value, 0.1, 1e9), 1.0, 0.1, ERROR).verdict is verdict


@pytest.mark.parametrize(
    ("root", "verdict"), [(0.0, Verdict.AGREES), (0.5, Verdict.DISAGREES), (0.1, Verdict.UNDECIDED)]
)
def test_a_boundary_lies_between_proven_signs(root, verdict):
    found = between_signs(lambda v: Contrast(-(v - root), 0.02, 1e9), 0.1, ERROR)
    assert found.verdict is verdict
    assert found.interval.value == pytest.approx(root)
    assert found.interval.low == pytest.approx(root - 1.96 * 0.02, abs=0.006)


def test_the_remainder_is_2_42_times_the_difference():
    def vectors(width, seeds):
        return np.full((seeds, 3), 10 + width**-0.5) + 1e-9 * np.arange(seeds)[:, None]

    found = Remainder(vectors, 1024, 0.1).judge(SLOPE_WIDTHS, (32, 8, 4, 4, 4), 0.006)
    assert found.interval.value == pytest.approx(2.42 * (512**-0.5 - 1024**-0.5), rel=1e-3)
    # It covers the distance from the limit, 1024^-1/2.
    assert found.interval.value == pytest.approx(1024**-0.5, rel=0.01)
    assert found.verdict is Verdict.AGREES
