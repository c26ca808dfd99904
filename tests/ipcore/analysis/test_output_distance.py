"""Distances from sketches of outputs: against exact ones of whole vectors, on hand-made networks."""

import numpy as np
import pytest

from ipcore.analysis.output_distance import Outputs, output_distance
from ipcore.errors import AnalysisError
from ipcore.probes.outputs import SIZE
from ipcore.randomness import output_signs

N = 3000
SEEDS = range(24)
WIDTHS = (64, 256, 1024)


def outputs(f, error=None):
    """As the probe records them, written out anew."""
    sums, signs = output_signs(len(f), SIZE)
    sketch = np.array([(f * signs)[sums == k].sum() for k in range(SIZE)]) / len(f) ** 0.5
    return Outputs.of([(f**2).mean(), *sketch], error)


def normal(*key):
    return np.random.default_rng([*key]).standard_normal(N)


def limit(seed):
    """Limits of different seeds have most in common."""
    return normal(7) + 0.3 * normal(7, seed)


def world(bias=0.0, own=0.0, slope=-0.5, alike=0.0):
    """Networks 4 m^slope off their limits at random and `bias` m^slope off in common; |f|^2 = 1.09."""

    def off(m, s):
        random = np.sqrt(1 - alike**2) * normal(m, s) + alike * normal(99) * np.sign(normal(m, s)[0])
        return m**slope * (4 * random + bias * normal(98))

    exact = {s: limit(s) for s in SEEDS}
    networks = {m: {s: exact[s] + off(m, s) for s in SEEDS} for m in WIDTHS}
    limits = {s: exact[s] + own * normal(5, s) for s in SEEDS}
    return networks, limits


def sketched(networks, limits, error=None):
    return (
        {m: {s: outputs(f) for s, f in found.items()} for m, found in networks.items()},
        {s: outputs(f, error) for s, f in limits.items()},
    )


def test_distance_variance_and_bias_are_those_of_the_whole_vectors():
    networks, limits = world(bias=2.0)
    found = output_distance(*sketched(networks, limits), needed=(0.05,))
    unit = np.mean([(f**2).mean() for f in limits.values()])
    for row in found.widths:
        off = np.stack([networks[row.width][s] - limits[s] for s in SEEDS])
        variance = off.var(axis=0, ddof=1).mean() / unit
        bias = (off.mean(axis=0) ** 2).mean() / unit - variance / len(SEEDS)
        assert row.distance.value == pytest.approx(np.sqrt((off**2).mean() / unit), rel=0.05)
        assert row.distance.low < np.sqrt((off**2).mean() / unit) < row.distance.high
        assert row.variance == pytest.approx(variance, rel=0.05)
        assert row.bias == pytest.approx(bias, rel=0.3)
        assert row.bias / row.distance.value**2 == pytest.approx(4 / 20, abs=0.06)
    assert found.slope.value == pytest.approx(-0.5, abs=0.03)
    assert found.slope.low < -0.5 < found.slope.high
    # sqrt(20 / 1.09) m^(-1/2) = .05 at m = 7,300
    assert found.needed[0].width.low < 7340 < found.needed[0].width.high
    assert found.needed[0].extrapolated


def test_the_limits_own_error_is_taken_out():
    """Particles add 0.1^2 to every squared distance; without it that at m = 1024 is .125^2 / 1.09."""
    networks, limits = world(own=0.1)
    right = output_distance(*sketched(networks, limits, error=0.1 / 1.1**0.5))
    left_in = output_distance(*sketched(networks, limits))
    assert right.widths[-1].distance.value == pytest.approx(0.125 / 1.09**0.5, rel=0.06)
    assert left_in.widths[-1].distance.value == pytest.approx((0.125**2 + 0.01) ** 0.5 / 1.1**0.5, rel=0.06)
    assert right.limit_error == pytest.approx(0.1 / 1.09**0.5, rel=0.02)
    assert right.widths[-1].variance == pytest.approx(0.125**2 / 1.09, rel=0.12)


def test_what_the_sketch_is_off_enters_intervals():
    """Where all seeds are off in one direction, they do not average the sketch's own error away."""
    intervals = {}
    for alike in (0.0, 1.0):
        found = output_distance(*sketched(*world(alike=alike)))
        distance = found.widths[0].distance
        intervals[alike] = (distance.high - distance.low) / distance.value
    assert intervals[1.0] == pytest.approx(2 * 1.96 * 0.125 / 2, rel=0.4)
    assert intervals[0.0] < intervals[1.0] / 2


@pytest.mark.parametrize("alike", [0.0, 1.0])
def test_directions_are_the_same_at_all_widths_so_slopes_do_not_suffer(alike):
    slope = output_distance(*sketched(*world(alike=alike))).slope
    assert slope.value == pytest.approx(-0.5, abs=0.03)
    assert slope.high - slope.low < 0.12


def test_what_has_no_relative_distance_is_said():
    networks, limits = world()
    with pytest.raises(AnalysisError, match="outputs of the limit are 0 within its own error"):
        output_distance(*sketched(networks, limits, error=0.9))
    with pytest.raises(AnalysisError, match="width 64 has 1 seeds beside"):
        output_distance({m: {0: outputs(limits[0])} for m in WIDTHS}, {0: outputs(limits[0])})
