"""T1, T2, T3 and T7 in small: the studies of `reproduction`, on fewer widths and seeds."""

from __future__ import annotations

import pytest

from ipcore.analysis import Trend, Verdict
from reproduction import coordinate_check, equivalence, finite_width, rate_transfer, stationarity
from reproduction.__main__ import RESULTS
from reproduction.examples import smaller
from reproduction.results import load, measured_now


@pytest.fixture(scope="module")
def coordinates(train):
    spec = smaller(
        coordinate_check.STUDY.spec, widths=[64, 128, 256, 512], activations=["relu"], seeds=[0, 1, 2, 3]
    )
    return coordinate_check.reports(train(spec))


@pytest.mark.parametrize("name", ["sp", "sp-stable", "ntk", "mup", "ip"])
def test_t1_no_size_contradicts_the_calculus(coordinates, name):
    report = coordinates[name, "relu"]
    # f and h^1..h^3 at step 0 and their changes at steps 1..3.
    assert len(report.coordinates) == 16, report.notes
    assert report.first is None, report.conclusion


def test_t1_mup_agrees_in_every_hidden_layer(train):
    spec = smaller(
        coordinate_check.STUDY.spec,
        steps=1,
        widths=[64, 128, 256, 512],
        activations=["tanh"],
        seeds=[0, 1, 2, 3, 4, 5, 6, 7],
        parameterizations=[{"preset": "mup", "base_learning_rates": [0.1]}],
    )
    report = coordinate_check.reports(train(spec))["mup", "tanh"]
    found = [c for c in report.coordinates if c.step == 1 and c.layer <= 3]
    assert len(found) == 3
    for c in found:  # eight seeds of these widths may leave it open, but not on the wrong side
        assert c.verdict is not Verdict.DISAGREES, c.sentence
        assert c.fit.slope.value == pytest.approx(0, abs=0.1), c.sentence


def test_t2_naive_ip_stands_still_from_three_layers_on(train):
    spec = smaller(
        stationarity.STUDY.spec,
        steps=3,
        widths=[64, 128, 256, 512],
        hidden_layers=[2, 3, 4],
        activations=["relu"],
        seeds=[0, 1, 2, 3],
    )
    checks = stationarity.checks(train(spec))
    for step in (1, 2, 3):
        # Order m^0 in the limit; at these widths a part of relative order |x|^2 / m still fades.
        assert checks["relu", 2, step].fit.slope.value > -0.35, checks["relu", 2, step].sentence
        for depth in (3, 4):
            check = checks["relu", depth, step]
            assert check.trend is Trend.FALLS, check.sentence
            assert check.fit.slope.value == pytest.approx(2 - depth, abs=0.25)


def test_t3_hp_comes_to_hpz_for_relu_alone():
    spec = equivalence.STUDY.spec | {
        "widths": [64, 128, 256, 512],
        "seeds": 4,
        "steps": [1],
        "pairs": [["relu", "hp", "hpz", 0.1, True], ["identity", "hp", "hpz", 0.1, True]],
    }
    result = measured_now("equivalence", spec, 0.0, equivalence.STUDY.measure(spec, lambda done: None))
    compared = equivalence.comparisons(result)
    relu, identity = (compared["hp to hpz", activation, 1] for activation in ("relu", "identity"))
    assert relu.trend is Trend.FALLS
    assert relu.fit.slope.value == pytest.approx(-0.5, abs=0.25)
    assert identity.fit.slope.value > relu.fit.slope.value + 0.15
    assert identity.fit.means[-1] > 2 * relu.fit.means[-1]


def test_t7_the_best_rate_stays_for_mup_and_falls_for_sp(train):
    rates = {"mup": range(-4, 0), "sp": range(-11, -4)}
    entries = [
        {"preset": name, "base_learning_rates": [2.0**e for e in exponents]}
        for name, exponents in rates.items()
    ]
    spec = smaller(
        rate_transfer.STUDY.spec, steps=30, widths=[128, 256, 512], seeds=[0, 1], parameterizations=entries
    )
    found = rate_transfer.transfers(train(spec))
    assert str(found["mup"].predicted) == "0"
    assert str(found["sp"].predicted) == "-1"
    assert found["mup"].drift.value == pytest.approx(0, abs=0.4)
    assert found["sp"].drift.value == pytest.approx(-1, abs=0.4)


def test_slopes_at_finite_widths_are_those_expected_from_the_parts():
    """In the committed result the exponents are not visible at these widths, but the expected slopes are."""
    study = finite_width.STUDY
    result = load(study.name, study.spec, RESULTS)
    assert result is not None
    found = finite_width.comparisons(result)
    assert [c.exponent for c in found] == [0] * 9
    for c in found:
        assert c.fit.slope.value == pytest.approx(c.expected, abs=0.15), (c.what, c.rate)
    hidden = [c for c in found if c.expected < -0.2]
    assert len(hidden) >= 4
    for c in hidden:
        assert abs(c.fit.slope.value - c.expected) < abs(c.fit.slope.value) / 2, (c.what, c.rate)
