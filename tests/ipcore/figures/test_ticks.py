"""Ticks of logarithmic axes: round numbers, two at least."""

import pytest

from ipcore.figures.layout import log_ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1e-4, 10, ["10⁻⁴", "0.001", "0.01", "0.1", "1", "10"]),
        (0.02, 2.5, ["0.03", "0.1", "0.3", "1"]),
        (0.15, 2.5, ["0.2", "0.5", "1", "2"]),
        (0.13, 0.47, ["0.15", "0.2", "0.3"]),  # of 1, 2, 5 there is only one
        (0.51, 0.99, ["0.6", "0.7", "0.8", "0.9"]),  # as of 1, 2, 3, 5, 7
    ],
)
def test_ticks_are_round_and_at_least_two(low, high, expected):
    assert list(log_ticks(low, high).values()) == expected


def test_an_axis_of_a_few_per_cent_has_two_ticks():
    places = list(log_ticks(1.01, 1.05))
    assert len(places) == 2
    assert all(1.01 < place < 1.05 for place in places)
