"""Distances to a limit, on made-up outputs whose distances are known."""

import numpy as np
import pytest

from ipcore.analysis import limit_distance
from ipcore.errors import AnalysisError

WIDTHS = (64, 256, 1024, 4096)
N = 200


def made_up(variance, bias, *, seeds=40, replicas=8, noise=0.0, seed=0):
    """Outputs of N numbers: f + m^(-1/2) times normals of total variance `variance`, plus m^-1 `bias`."""
    rng = np.random.default_rng(seed)
    f = rng.standard_normal(N)
    f /= np.linalg.norm(f)
    off = rng.standard_normal(N)
    off /= np.linalg.norm(off)
    outputs = {
        m: f + np.sqrt(variance / m / N) * rng.standard_normal((seeds, N)) + bias / m * off for m in WIDTHS
    }
    return outputs, f + np.sqrt(noise / N) * rng.standard_normal((replicas, N))


def test_variance_and_bias_add_up_to_the_distance():
    found = limit_distance(*made_up(4.0, 8.0))
    for row in found.widths:
        assert row.variance == pytest.approx(4 / row.width, rel=0.1)
        assert row.bias == pytest.approx((8 / row.width) ** 2, rel=0.3, abs=0.1 * 4 / row.width)
        assert row.distance.value**2 == pytest.approx(row.variance + row.bias, rel=0.1)
        assert row.distance.low < row.distance.value < row.distance.high
    assert found.slope.low <= found.slope.value <= found.slope.high


def test_a_pure_power_has_its_slope_and_the_width_of_a_distance():
    found = limit_distance(*made_up(4.0, 0.0), needed=(0.1, 0.01))
    assert found.slope.value == pytest.approx(-0.5, abs=0.02)
    near, far = found.needed
    assert near.width.value == pytest.approx(400, rel=0.1)
    assert near.width.low < 400 < near.width.high
    assert far.width.value == pytest.approx(40_000, rel=0.2)
    assert (near.extrapolated, far.extrapolated) == (False, True)
    assert "0.1 is reached at width" in found.sentence


def test_the_error_of_the_limit_is_taken_out():
    """Noise of the replicas as large as the distance at the largest width."""
    found = limit_distance(*made_up(4.0, 0.0, noise=8 * 4 / 4096))
    assert found.limit_error**2 == pytest.approx(4 / 4096, rel=0.3)
    assert found.slope.value == pytest.approx(-0.5, abs=0.05)
    exact, _ = made_up(4.0, 0.0)
    assert limit_distance(exact, made_up(4.0, 0.0)[1][:1]).limit_error == 0


def test_intervals_cover():
    inside = 0
    for seed in range(40):
        slope = limit_distance(*made_up(4.0, 0.0, seeds=6, seed=seed)).slope
        inside += slope.low <= -0.5 <= slope.high
    assert inside >= 34


def test_absolute_distances_are_root_mean_squares():
    outputs, limit = made_up(4.0, 0.0)
    found = limit_distance(outputs, limit, relative=False)
    assert found.widths[0].distance.value == pytest.approx(np.sqrt(4 / 64 / N), rel=0.1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda o, f: ({m: o[m] for m in WIDTHS[:2]}, f), "at least 3 widths"),
        (lambda o, f: (o | {64: o[64][:1]}, f), "at least 2 seeds"),
        (lambda o, f: (o, f - f.mean(axis=0) + 0.001 * f), "ask for absolute"),
        (lambda o, f: (o | {64: o[64][:, :7]}, f), "200 numbers"),
    ],
)
def test_what_cannot_be_answered_is_refused(change, says):
    with pytest.raises(AnalysisError, match=says):
        limit_distance(*change(*made_up(4.0, 0.0, noise=0.01)))


def test_a_distance_that_does_not_fall_is_never_reached():
    rng = np.random.default_rng(1)
    outputs = {m: 1 + 0.1 * rng.standard_normal((30, N)) * m**0.05 for m in WIDTHS}
    (needed,) = limit_distance(outputs, np.ones((1, N)), needed=(0.01,)).needed
    assert needed.width.value == np.inf
