"""Distances of paired runs."""

import pytest

from ipcore.analysis import Trend, compare_pairs
from ipcore.errors import AnalysisError
from tests.ipcore.analysis.synthetic import power, samples


@pytest.mark.parametrize(
    ("exponent", "expected"), [(-0.5, Trend.FALLS), (0.0, Trend.STAYS), (0.3, Trend.STAYS)]
)
def test_trends(exponent, expected):
    found = compare_pairs(samples(power(exponent), noise=0.05), ("hp", "ip-llr"))
    assert found.trend is expected
    assert found.sentence.startswith(f"distance of hp and ip-llr {expected}: slope {found.fit.slope}, from ")


def test_noise_is_undecided():
    found = compare_pairs(samples(power(-0.2), noise=0.5), ("hp", "hpz"))
    assert found.trend is Trend.UNDECIDED
    assert "the interval is too wide; " in found.sentence


def test_identical_runs_have_no_slope():
    with pytest.raises(AnalysisError, match="values > 0"):
        compare_pairs(samples(lambda m: 0.0), ("a", "b"))
