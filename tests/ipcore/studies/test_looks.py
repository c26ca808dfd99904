"""Error control: a* of studies, hand-checked against the published table, and against simulation."""

import numpy as np
import pytest
from scipy.special import ndtri

from ipcore.analysis.welch import finite_width_bias, limit_weights, slope_weights, student
from ipcore.studies.looks import LOOKS, crossing, error_per_look


@pytest.mark.parametrize(
    ("cells", "error", "t"), [(1, 0.0060, 3.24), (8, 0.00062, 4.87), (16, 0.00030, 5.47)]
)
def test_error_of_a_look_by_number_of_cells(cells, error, t):
    found = error_per_look(0.05, cells, 0)
    assert found == pytest.approx(error, rel=0.01)
    assert student(8, found) == pytest.approx(t, abs=0.011)


def test_one_look_crosses_as_often_as_the_normal_tail():
    assert crossing(1.6449, looks=(4,)) == pytest.approx(0.05, rel=1e-3)


def test_crossing_is_that_of_simulated_sums():
    z = float(-ndtri(error_per_look(0.05, 1, 0)))
    generator = np.random.default_rng(1)
    sums = np.cumsum(generator.standard_normal((20_000, LOOKS[-1])), axis=1)[:, np.array(LOOKS) - 1]
    crossed = (sums / np.sqrt(LOOKS) > z).any(axis=1).mean()
    assert crossed == pytest.approx(0.88 * 0.04, abs=4 * (0.0352 / 20_000) ** 0.5)


def test_error_shrinks_with_cells_and_later_windows():
    errors = [error_per_look(0.05, cells, 0) for cells in (1, 2, 4, 8, 100)]
    assert errors == sorted(errors, reverse=True)
    assert error_per_look(0.05, 1, 1) < error_per_look(0.05, 1, 0)
    assert error_per_look(0.05, 1, 2) == error_per_look(0.05, 1, 3)


def test_bias_bound_and_spread_of_the_limit():
    widths = (128, 256, 512, 1024)
    assert finite_width_bias(widths) == pytest.approx(0.062, abs=0.0005)
    for some in (widths, (64, *widths)):
        assert 5 < np.linalg.norm(limit_weights(some)) / np.linalg.norm(slope_weights(some)) < 6.7
