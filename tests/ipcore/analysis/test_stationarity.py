"""T2: naive IP is trivial from three hidden layers on."""

from dataclasses import replace

import pytest

from ipcore.analysis import Trend, Verdict, check_stationarity
from ipcore.theory import analyze, preset
from tests.ipcore.analysis.networks import coordinates
from tests.ipcore.analysis.synthetic import power, samples, two_powers


@pytest.mark.parametrize(
    ("exponent", "depth", "verdict"),
    [
        (-1.0, 3, Verdict.AGREES),
        (0.0, 3, Verdict.DISAGREES),
        (0.0, 2, Verdict.AGREES),
        (-0.5, 2, Verdict.UNDECIDED),  # a leading term may be hidden
        (-0.25, 3, Verdict.UNDECIDED),
    ],
)
def test_verdicts(exponent, depth, verdict):
    analysis = analyze(preset("ip", depth))
    found = check_stationarity(samples(power(exponent), noise=0.02), analysis, 20)
    assert found.verdict is verdict
    assert found.sentence.startswith(f"change of f at step 20 {verdict}: ")
    assert found.predicted is (Trend.FALLS if depth == 3 else Trend.STAYS)


def test_where_theory_says_measure_nothing_is_held_against_it():
    analysis = analyze(preset("ip-llr", 4), activation="tanh")
    assert analysis.regime == "measure"
    found = check_stationarity(samples(power(-1)), analysis, 3)
    assert (found.trend, found.verdict) == (Trend.FALLS, Verdict.UNDECIDED)
    assert "theory leaves it open (measure)" in found.sentence


def test_theory_is_asked_about_the_step_that_was_measured():
    """The first step has the rates of naive IP and moves f by m^-1; later large rates move it by order 1."""
    llr = preset("ip-llr", 3)
    small, large = preset("ip", 3).phases[0], llr.phases[0]
    late = replace(llr, phases=(small, replace(large, start=1), replace(small, start=2)))
    analysis = analyze(late, steps=2)
    assert analysis.regime == "feature_learning"
    for step, exponent, predicted in ((1, -1.0, Trend.FALLS), (2, 0.0, Trend.STAYS)):
        found = check_stationarity(samples(power(exponent), noise=0.02), analysis, step)
        assert (found.predicted, found.verdict) == (predicted, Verdict.AGREES), found.sentence
    assert check_stationarity(samples(power(0.0), noise=0.02), analysis, 1).verdict is Verdict.DISAGREES


def test_a_fall_that_may_hide_what_stays_is_no_disagreement():
    """m^-1 + 0.001 has exponent 0 in the limit, as theory says of IP at L = 2; at these widths it falls."""
    found = check_stationarity(
        samples(two_powers(-1.0, 0.0, 0.001), noise=0.05), analyze(preset("ip", 2)), 20
    )
    assert (found.trend, found.predicted) == (Trend.FALLS, Trend.STAYS)
    assert found.verdict is Verdict.UNDECIDED
    assert "the slope still moves toward the prediction" in found.sentence


def test_naive_ip_networks_stand_still_when_wide():
    ip = preset("ip", 3)
    measured = coordinates(ip, (64, 128, 256, 512), 6, eta=0.5, steps=2)
    found = check_stationarity(measured["h_change", 4, 2], analyze(ip), 2)
    assert found.verdict is Verdict.AGREES, found.sentence
