"""Parts of a change: exponents, and slopes predicted from measured constants."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.theory import (
    MeasuredParts,
    TheoryError,
    analyze,
    custom,
    expected_changes,
    fitted_slope,
    parts_of,
    preset,
)

F = Fraction
HALF = F(1, 2)
WIDTHS = (128, 256, 512, 1024)


def rows(name, layers, **setting):
    found = parts_of(analyze(preset(name, layers), **setting), step=1)
    return [(p.start, p.below, p.update) for p in found]


def test_parts_by_hand():
    """By layer: W_0 x_0, W_0 (x_1 - x_0), own update.

    muP, L=2: all of order 1 in h^2 but W_0 Delta x^1, which is (m^-1/2)(m^1/2) = 1 too; f_0 is m^-1/2, the
    readout passes on m^-1 m = 1, its own update is of order 1.
    IP-LLR, L=3: W_0 has entries m^-1, so it passes on m^-1/2 in hidden layers and 1 at f.
    NTK, L=2: features change by m^-1/2; f by order 1, by its own update and by W_0 (m^-1/2 m m^-1/2).
    """
    assert rows("mup", 2) == [(0, None, 0), (0, 0, 0), (-HALF, 0, 0)]
    assert rows("ip-llr", 3) == [(0, None, 0), (-HALF, -HALF, 0), (-1, -HALF, 0), (F(-3, 2), 0, 0)]
    assert rows("ntk", 2) == [(0, None, -HALF), (0, -HALF, -HALF), (0, 0, 0)]


def test_remainders_of_sums_over_neurons():
    first, second, last = parts_of(analyze(preset("mup", 2)), step=1)
    assert first.update_remainder is None
    assert (second.update_remainder, last.update_remainder) == (-HALF, -HALF)


eighths = st.integers(-16, 16).map(lambda n: F(n, 8))


@given(
    exponents=st.integers(1, 4).flatmap(
        lambda L: st.tuples(*[st.lists(eighths, min_size=L + 1, max_size=L + 1)] * 3)
    ),
    optimizer=st.sampled_from(["sgd", "momentum", "sign"]),
    activation=st.sampled_from(["relu", "tanh", "gelu", "sigmoid"]),
    step=st.integers(1, 2),
)
def test_the_largest_part_is_the_change(exponents, optimizer, activation, step):
    a, b, c = exponents
    found = analyze(custom(len(a) - 1, a, b, c), optimizer=optimizer, activation=activation, steps=step)
    sizes = found.steps[step]
    parts = parts_of(found, step)
    if step == 1 and sizes.exact:  # known, not bounded
        assert [p.change for p in parts] == [*sizes.h_change, sizes.f_change]
    assert [p.start for p in parts] == [*found.steps[0].h, found.steps[0].f]
    for p in parts:
        assert p.below is None or p.below_per_input is not None
        assert (p.own is None) == (p.update is None)


def curve(name, layers, measured, widths=WIDTHS, at=256, **setting):
    return expected_changes(parts_of(analyze(preset(name, layers), **setting), 1), measured, at, widths)


@pytest.mark.parametrize(
    ("own", "slopes"),
    [
        # Own updates of h^2 and h^3 beside 1 at m = 256 that W_0 passes on.
        ((0.453, 0.506), (-0.38, -0.74, -0.74)),
        ((1.474, 1.765), (-0.13, -0.23, -0.23)),
    ],
)
def test_layers_multiply(own, slopes):
    """IP-LLR: h^2 and h^3 have parts 1 and m^-1/2, so slopes add; the readout passes both on with slope 0.

    Slopes predicted from measured parts at base rates 1 and 4; measured were -.39 -.69 -.65, -.19 -.34 -.34.
    """
    sizes = {1: MeasuredParts(0.0, 0.0, 1.0), 4: MeasuredParts(0.0, 1.0, 1.0)}
    sizes |= {layer: MeasuredParts(0.0, 1.0, size) for layer, size in enumerate(own, start=2)}
    first, *expected = curve("ip-llr", 3, sizes)
    assert fitted_slope(first.sizes, WIDTHS) == pytest.approx(0)
    assert [fitted_slope(e.sizes, WIDTHS) for e in expected] == pytest.approx(slopes, abs=0.005)
    assert [e.crossover for e in expected[:2]] == pytest.approx([256 / size**2 for size in own])
    assert expected[2].crossover is None  # both parts of f are of order 1


def test_a_layer_that_keeps_its_start_passes_on_no_slope_to_own_updates():
    """NTK: x is dominated by x_0, of order 1, so own updates keep their exponent for any change below."""
    sizes = {
        1: MeasuredParts(1.0, 0.0, 1e-6),
        2: MeasuredParts(1.0, 1e-6, 1e-6),
        3: MeasuredParts(1.0, 1.0, 1.0),
    }
    expected = curve("ntk", 2, sizes)
    assert fitted_slope(expected[1].own, WIDTHS) == pytest.approx(-0.5, abs=1e-4)
    assert fitted_slope(expected[2].own, WIDTHS) == pytest.approx(0, abs=1e-4)


constants = st.floats(1e-2, 1e2)


@given(
    sizes=st.lists(st.builds(MeasuredParts, constants, constants, constants), min_size=4, max_size=4),
    name=st.sampled_from(["mup", "ntk", "ip-llr", "ip", "sp"]),
    activation=st.sampled_from(["relu", "tanh"]),
)
def test_far_out_the_curve_has_theorys_exponent(sizes, name, activation):
    analysis = analyze(preset(name, 3), activation=activation)
    measured = dict(enumerate(sizes, start=1))
    measured[1] = MeasuredParts(sizes[0].start, 0.0, sizes[0].own)
    far = (1e28, 2e28)
    parts = parts_of(analysis, 1)
    for layer, expected in zip(parts, expected_changes(parts, measured, 256, far), strict=True):
        assert fitted_slope(expected.sizes, far) == pytest.approx(float(layer.change), abs=1e-3)


@given(sizes=st.lists(st.builds(MeasuredParts, constants, constants, constants), min_size=3, max_size=3))
def test_where_it_was_measured_the_curve_is_what_was_measured(sizes):
    measured = dict(enumerate(sizes, start=1))
    for size, expected in zip(sizes, curve("mup", 2, measured, widths=(256,)), strict=True):
        assert (expected.own, expected.below) == (pytest.approx((size.own,)), pytest.approx((size.below,)))
        (share,) = expected.shares
        assert share == pytest.approx(size.own**2 / (size.own**2 + size.below**2))


def test_it_stops_where_nothing_was_measured():
    one = MeasuredParts(1.0, 1.0, 1.0)
    assert len(curve("mup", 3, {1: one, 2: one, 4: one})) == 2


def test_what_has_no_parts_is_refused():
    found = analyze(preset("mup", 2))
    for step in (0, -1, 1.0, True):
        with pytest.raises(TheoryError, match=r"at least 1|must be an integer") as refused:
            parts_of(found, step)
        assert refused.value.field == "step"
    with pytest.raises(TheoryError, match="re-weighted"):
        parts_of(analyze(preset("hp", 2)), 1)
    with pytest.raises(TheoryError, match="size 0"):
        curve("mup", 1, {1: MeasuredParts(1.0, 0.0, 0.0)})
