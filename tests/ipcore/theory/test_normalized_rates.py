"""Rates of networks with normalized preactivations: completion, the largest stable rate, parts of changes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory import (
    MeasuredParts,
    Regime,
    TheoryError,
    analyze,
    complete,
    custom,
    expected_changes,
    largest_rate_of,
    largest_stable_rate,
    parts_of,
    preset,
)
from tests.ipcore.theory.brute_force import brute_force

HALF = Fraction(1, 2)
EIGHTHS = st.integers(-24, 24).map(lambda e: Fraction(e, 8))


@pytest.mark.parametrize(("last", "optimizer", "changes", "c"), [
    # dh = -1, -1/2, -1/2 and targets h_0 = 0, -1/2, -1/2: -1 - 0; -1/2 - 2 + 1 + 1/2; readout 0 - 2 + 1.
    ("1", "sgd", ("0", "-1/2", "-1/2"), ("-1", "-1", "-1", "-1")),
    # Signs do not see gradients: 0; -1 + 1 + 1/2; -1 + 1.
    ("1", "adam", ("0", "-1/2", "-1/2"), ("0", "1/2", "1/2", "0")),
    # The readout passes on m^1/2 of what y^3 changes, so R = -1/2, and dh = -1/2, 0, 0.
    ("1/2", "sgd", ("-1/2", "-1", "-1"), ("0", "0", "0", "0")),
])  # fmt: skip
def test_completion_by_hand(last, optimizer, changes, c):
    """IP of three layers: every layer changes by as much as it is large (m^R of it), whatever its size."""
    done = complete(["0", "1", "1", last], ["0"] * 4, optimizer=optimizer, normalization="rms")
    assert [str(change) for change in done.changes] == list(changes)
    assert [[str(e) for e in phase.c] for phase in done.parameterization.phases] == [list(c)]
    assert done.maximal
    assert done.unique is (last == "1/2")  # else larger rates are stable, and change y by order 1 too
    balanced = complete(
        ["0", "1", "1", last], ["0"] * 4, optimizer=optimizer, normalization="rms", kind="balanced"
    )
    assert balanced.parameterization == done.parameterization


@given(st.integers(1, 4), st.booleans(), st.data())
@settings(max_examples=40, deadline=None)
def test_completed_rates_change_layers_by_as_much_as_is_stable(L, sign, data):
    a, b = (data.draw(st.lists(EIGHTHS, min_size=L + 1, max_size=L + 1)) for _ in range(2))
    optimizer = "sign" if sign else "sgd"
    if a[-1] + b[-1] < HALF:
        with pytest.raises(TheoryError, match="the output is of order"):
            complete(a, b, optimizer=optimizer, normalization="rms")
        return
    done = complete(a, b, optimizer=optimizer, normalization="rms")
    found = analyze(done.parameterization, optimizer=optimizer, normalization="rms")
    r = max(Fraction(0), 1 - a[-1] - b[-1])
    assert [change - h for change, h in zip(done.changes, found.steps[0].h, strict=True)] == [-r] * L
    assert all((s.h_change, s.f_change) == (done.changes, 0) for s in found.steps[1:])
    assert found.settled
    # One rate raised: the output grows if that is the readout's, or if the readout passes on m^r.
    phase = done.parameterization.phases[-1]
    for layer in range(L + 1):
        c = [e - Fraction(1, 8) * (i == layer) for i, e in enumerate(phase.c)]
        raised = analyze(
            custom(L, a=a, b=b, c=c, c_first_step=done.parameterization.c_at(0)),
            optimizer=optimizer, loss="mse", normalization="rms",
        )  # fmt: skip
        assert (raised.regime is Regime.UNSTABLE) is (layer == L or r > 0)


@pytest.mark.parametrize(("name", "stable"), [
    ("mup", "0"), ("ntk", "0"), ("sp", "-1"), ("ip", "0"),
    ("ip-llr", "-1"),  # c_{L+1} = -2 at first, a = 1: the readout's update moves f by 1 - 2 + 2
    ("hp", "0"),
])  # fmt: skip
def test_largest_stable_rates_by_hand(name, stable):
    found = largest_stable_rate(preset(name, 3), normalization="rms")
    assert (str(found.stable), found.controlled, found.only_output, found.exact) == (stable, None, True, True)
    assert "above it only the output grows, however large the rate" in found.summary
    squares = largest_stable_rate(preset(name, 3), normalization="rms", loss="mse")
    assert (str(squares.stable), squares.controlled, squares.only_output) == (stable, squares.stable, False)


@given(st.integers(1, 3), st.booleans(), st.booleans(), st.data())
@settings(max_examples=40, deadline=None)
def test_largest_stable_rates_against_an_oracle(L, sign, mse, data):
    """At delta* nothing grows, 1/64 above it the output does; and it is the least of two simple bounds."""
    a, b, c, first = (data.draw(st.lists(EIGHTHS, min_size=L + 1, max_size=L + 1)) for _ in range(4))
    found = largest_stable_rate(
        custom(L, a=a, b=b, c=c, c_first_step=first),
        optimizer="sign" if sign else "sgd",
        loss="mse" if mse else "cross_entropy",
        normalization="rms",
    )
    if a[-1] + b[-1] < HALF:
        assert found.stable is None
        return
    assert found.stable is not None
    assert found.exact

    def grows(delta: Fraction) -> bool:
        rates, at_first = ([e - delta for e in row] for row in (c, first))
        records = brute_force(a, b, rates, c_first=at_first, steps=100, sign=sign, mse=mse, normalized=True)
        return any(h[-1] > 0 for h, _ in records)

    assert not grows(found.stable)
    assert grows(found.stable + Fraction(1, 64))
    readout = min(row[-1] + (1 if sign else 2) * a[-1] - 1 for row in (c, first))
    assert found.stable <= readout
    if a[-1] + b[-1] >= 1:  # whatever y^L does, the readout keeps f bounded
        assert found.stable == readout


def test_a_base_rate_that_calibration_replaces_is_not_said():
    with pytest.raises(TheoryError, match="not covered: calibrated rates with normalized preactivations"):
        largest_stable_rate(preset("ip-llr", 3), calibrated=True, normalization="rms")
    assert "calibrated rates" in str(
        largest_rate_of(analyze(preset("ip-llr", 3), normalization="rms"), calibrated=True)
    )


def test_an_odd_activation_that_outgrows_its_start_leaves_larger_rates_open():
    """Above delta* = 0 of muP h_1 turns away from h_0, and with tanh nothing else aligns x_1 with x_0."""
    tanh = largest_stable_rate(preset("mup", 3), activation="tanh", normalization="rms")
    assert (tanh.stable, tanh.exact) == (0, False)
    ntk = largest_stable_rate(preset("ntk", 3), activation="tanh", normalization="rms")
    assert (ntk.stable, ntk.exact) == (0, True)  # the output grows before anything turns


def test_parts_by_hand():
    """IP, c = -1: y^l changes by order 1, so W_0 passes on 1/2 - 1 in hidden layers and 1 - 1 at f."""
    p = custom(3, a=["0", "1", "1"], b=["0"] * 3, c=["-1"] * 3)
    parts = parts_of(analyze(p, normalization="rms"), 1)
    assert [(part.start, part.below, part.own) for part in parts] == [
        (0, None, 0), (-HALF, -HALF, -HALF), (-HALF, -HALF, -HALF), (-HALF, 0, 0),
    ]  # fmt: skip
    assert [part.normalized for part in parts] == [True, True, True, False]
    # A change of y below order 1 (R = -1/2) is passed on as it is: h_0 = 0, -1/2, -1/2, changes 1/2 less.
    lazy = custom(3, a=["0", "1", "1", "1/2"], b=["0"] * 4, c=["0"] * 4)
    below = [part.below for part in parts_of(analyze(lazy, normalization="rms"), 1)]
    assert below == [None, -1, -1, 0]


@pytest.mark.parametrize("relative", [0.05, 0.7, 1.0, 6.0])
def test_how_far_a_normalized_vector_turns(relative):
    """The ratio of two widths' changes of y against long random vectors: h_0 and an independent change."""
    rng = np.random.default_rng(0)
    h0, change = rng.standard_normal((2, 400_000))

    def turned(size: float) -> float:
        y0, y = (v / np.sqrt(np.mean(v**2)) for v in (h0, h0 + size * change))
        return float(np.sqrt(np.mean((y - y0) ** 2)))

    # h^1 of order 1 changes by m^-1/2, which W_0^2 passes on: sizes at m = 100 are given.
    p = custom(1, a=["0", "1/2"], b=["0", "0"], c=["0", "0"])
    layers = parts_of(analyze(p, normalization="rms"), 1)
    assert (layers[0].update, layers[1].below_per_input) == (-HALF, HALF)
    measured = {1: MeasuredParts(1.0, 0.0, relative), 2: MeasuredParts(1.0, 1.0, 0.0)}
    f = expected_changes(layers, measured, 100, (100, 400))[1]
    assert f.sizes[1] / f.sizes[0] == pytest.approx(2 * turned(relative / 2) / turned(relative), rel=0.01)
    assert f.sizes[0] == pytest.approx(1.0)
    assert math.isfinite(f.crossover or 0)
