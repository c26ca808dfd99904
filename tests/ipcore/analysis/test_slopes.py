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
    for found in (fit.slope.value, fit.slope.low, fit.slope.high, fit.limit.value, *fit.local):
        assert found == pytest.approx(exponent, abs=1e-5)
    assert fit.drift.value == pytest.approx(0, abs=1e-6)
    assert fit.residual == pytest.approx(0, abs=1e-6)


def test_a_parabola_is_read_off_exactly():
    # log y = x^2 / 10 in x = log2 m = 3, 4, 5: local slope d(log y)/d(log m) = x / (5 ln 2).
    fit = fit_slope(samples(lambda m: math.exp(math.log2(m) ** 2 / 10), widths=(8, 16, 32)))
    per_octave = 1 / math.log(2)
    assert fit.slope.value == pytest.approx(0.8 * per_octave)
    assert fit.drift.value == pytest.approx(0.4 * per_octave)
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


def test_what_all_widths_share_in_a_seed_makes_the_interval_longer_never_shorter():
    # Widths count as independent: what a seed has in common at all of them is no reason for confidence.
    fits = [
        fit_slope(Samples(data.widths, data.seeds, data.values * np.exp(shared)))
        for i in range(300)
        for data in [samples(power(0.5), noise=0.2, key=[i])]
        for shared in [0.5 * np.random.default_rng([i, 1]).standard_normal(len(data.seeds))]
    ]
    assert np.mean([fit.slope.low <= 0.5 <= fit.slope.high for fit in fits]) > 0.99


def test_welch_by_hand():
    """Logs with means 1, 5, 3 at 64, 128, 256: weights -w, 0, w with w = 1/(2 log 2)."""
    logs = {64: (0.0, 2.0), 128: (5.0, 5.0), 256: (1.0, 5.0)}
    data = Samples.of({(m, i): math.exp(y) for m, row in logs.items() for i, y in enumerate(row)})
    fit = fit_slope(data)
    w = 1 / (2 * math.log(2))
    v = (w**2 * 2 / 2, w**2 * 8 / 2)
    assert fit.slope.value == pytest.approx(w * (3 - 1))
    assert fit.contrast.se == pytest.approx(math.sqrt(sum(v)))
    assert fit.contrast.df == pytest.approx(sum(v) ** 2 / (v[0] ** 2 + v[1] ** 2))


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
        (Samples.of({(8, 0): 1.0, (16, 0): 1.0, (32, 1): math.nan}), "3 widths, there is 8, 16"),
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
    assert data.measured().widths == (8, 16, 32)
    assert data.gaps() == "1 of 3 runs at width 16, 3 of 3 runs at width 64 have no value"


def test_runs_without_a_value_are_counted_out_at_their_width_alone():
    values = {(m, seed): float(m) for m in (8, 16, 32) for seed in range(40)}
    values[16, 3] = math.nan
    fit = fit_slope(Samples.of(values))
    assert (fit.seeds, fit.missing) == (39, "")
    for seed in (4, 5):
        values[16, seed] = math.nan
    assert fit_slope(Samples.of(values)).missing == "3 of 40 runs at width 16 have no value"


def test_a_width_at_which_everything_diverged_is_missing_too():
    values = {(m, seed): math.nan if m == 64 else float(m) for m in (8, 16, 32, 64) for seed in range(3)}
    fit = fit_slope(Samples.of(values))
    assert (fit.widths, fit.missing) == ((8, 16, 32), "3 of 3 runs at width 64 have no value")


def test_nothing_left_is_an_error():
    for part in (Samples.paired, Samples.measured):
        with pytest.raises(AnalysisError, match="8, 16: all of them diverged"):
            part(Samples.of({(8, 0): math.nan, (16, 0): math.nan}))
    with pytest.raises(AnalysisError, match="no seed has a value at all of the widths 8, 16"):
        Samples.of({(8, 0): 1.0, (16, 1): 1.0}).paired()
