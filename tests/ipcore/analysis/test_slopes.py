"""Slopes: exact for exact powers, intervals with the right coverage, errors that say what to do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.analysis import Samples, fit_slope
from ipcore.errors import AnalysisError, IpcoreError
from tests.ipcore.analysis.synthetic import WIDTHS, power, samples


@given(st.floats(-3, 3), st.floats(1e-6, 1e6), st.integers(2, 7), st.integers(3, 6))
def test_an_exact_power_has_its_exponent_and_no_drift(exponent, factor, seeds, widths):
    widths = [32 * 2**i for i in range(widths)]
    fit = fit_slope(samples(power(exponent, factor), seeds=seeds, widths=widths))
    for found in (fit.slope.value, fit.slope.low, fit.slope.high, fit.end.value, fit.ahead.value, *fit.local):
        assert found == pytest.approx(exponent, abs=1e-6)
    assert fit.drift.value == pytest.approx(0, abs=1e-6)
    assert fit.residual == pytest.approx(0, abs=1e-6)


def test_a_parabola_is_read_off_exactly():
    # log y = x^2 / 10 in x = log2 m = 3, 4, 5: local slope d(log y)/d(log m) = x / (5 ln 2).
    fit = fit_slope(samples(lambda m: math.exp(math.log2(m) ** 2 / 10), widths=(8, 16, 32)))
    per_octave = 1 / math.log(2)
    assert fit.slope.value == pytest.approx(0.8 * per_octave)
    assert fit.drift.value == pytest.approx(0.4 * per_octave)
    assert fit.end.value == pytest.approx(1.0 * per_octave)
    assert fit.ahead.value == pytest.approx(1.2 * per_octave)
    assert fit.local == pytest.approx((0.7 * per_octave, 0.9 * per_octave))


def test_the_slope_is_that_of_the_seeds_mean_logarithm():
    data = samples(power(-0.5), noise=0.3, seeds=5)
    each = [np.polyfit(np.log(WIDTHS), np.log(column), 1)[0] for column in data.values.T]
    fit = fit_slope(data)
    assert fit.slope.value == pytest.approx(np.mean(each))
    assert fit.means == pytest.approx(np.exp(np.log(data.values).mean(axis=1)))


@pytest.mark.parametrize("seeds", [3, 4, 6, 12])
def test_intervals_hold_the_truth_about_as_often_as_they_say(seeds):
    # Student's interval covers 95 % for normals; a plain percentile interval of 3 seeds covers 80 %.
    fits = [fit_slope(samples(power(0.5), noise=0.2, seeds=seeds, key=[seeds, i])) for i in range(400)]
    held = np.mean([fit.slope.low <= 0.5 <= fit.slope.high for fit in fits])
    assert held > 0.90


def test_what_all_widths_share_in_a_seed_does_not_widen_the_interval():
    # A seed that is ten times as large at every width does not change the slope.
    data = samples(power(1.0))
    shared = Samples(data.widths, data.seeds, data.values * np.array([1, 10, 1, 3, 1, 1]))
    fit = fit_slope(shared)
    assert (fit.slope.low, fit.slope.high) == pytest.approx((1, 1))


def test_the_same_measurements_give_the_same_interval():
    data = samples(power(1.0), noise=0.1)
    assert fit_slope(data) == fit_slope(data)


def test_one_seed_has_a_slope_and_no_interval():
    fit = fit_slope(samples(power(1.0), seeds=1))
    assert fit.slope.value == pytest.approx(1)
    assert (fit.slope.low, fit.slope.high) == (-math.inf, math.inf)
    assert str(fit.slope) == "1.00 [no interval from one seed]"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (samples(power(1), widths=(64, 128)), "at least 3 widths, there is 64, 128"),
        (Samples.of({}), "at least 3 widths, there is none"),
        (samples(lambda m: m - 256.0), r"width 128, seed 0 is -128 \(12 are wrong\)"),
        (samples(lambda m: 0.0), "width 128, seed 0 is 0 .*values > 0"),
        (samples(lambda m: math.inf), "is inf"),
        (Samples.of({(8, 0): 1.0, (16, 0): 1.0, (32, 1): 1.0}), "width 8, seed 1 is missing"),
    ],
)
def test_refusals_say_what_is_wrong(data, said):
    with pytest.raises(AnalysisError, match=said) as caught:
        fit_slope(data)
    assert isinstance(caught.value, IpcoreError)


def test_gaps_are_left_out_and_named():
    values = {(m, seed): 1.0 for m in (8, 16, 32, 64) for seed in range(3)}
    del values[16, 1]
    data = Samples.of({key: value if key[0] < 64 else math.nan for key, value in values.items()})
    paired = data.paired()
    assert (paired.widths, paired.seeds) == ((8, 16, 32), (0, 2))
    assert data.left_out(paired) == "left out for missing values: widths 64 and seeds 1"
    assert paired.left_out(paired.paired()) == ""


def test_nothing_left_is_an_error():
    with pytest.raises(AnalysisError, match="8, 16: all of them diverged"):
        Samples.of({(8, 0): math.nan, (16, 0): math.nan}).paired()
    with pytest.raises(AnalysisError, match="no seed has a value at all of the widths 8, 16"):
        Samples.of({(8, 0): 1.0, (16, 1): 1.0}).paired()
