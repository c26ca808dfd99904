"""Means over seeds, and which of their intervals pictures show."""

import pytest

from ipcore.figures import mean


def test_the_interval_is_students():
    """Of 1, 2, 3, 4: 2.5 +- 3.1824 * 1.29099 / 2, where 3.1824 is the quantile with 3 degrees of freedom."""
    found = mean([1.0, 2.0, 3.0, 4.0])
    assert (found.value, found.count) == (2.5, 4)
    assert (found.low, found.high) == pytest.approx((0.4458, 4.5542), abs=1e-4)


def test_a_geometric_mean_has_the_interval_of_its_logarithms():
    found = mean([1.0, 4.0], geometric=True)
    assert found.value == pytest.approx(2.0)
    assert found.low * found.high == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("values", "shown"), [([1.0], False), ([1.0, 2.0, 3.0], False), ([1.0] * 3 + [2.0], True)]
)
def test_pictures_show_intervals_from_four_values_on(values, shown):
    found = mean(values)
    assert found.band == ((found.low, found.high) if shown else (None, None))
    assert (found.low is None) == (len(values) == 1)
