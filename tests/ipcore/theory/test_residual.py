"""Residual blocks: sums of branches, hand-worked and against the composed rule; powers of the depth."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.theory import (
    Regime,
    TheoryError,
    analyze,
    complete,
    custom,
    depth_exponents,
    largest_rate_of,
    largest_stable_rate,
    parts_of,
    preset,
)
from ipcore.theory.calculus import Propagation
from ipcore.theory.factors import initial_factors
from ipcore.theory.rules import Rules, rules

HALF = Fraction(1, 2)


def setting(k: int) -> Rules:
    found = rules("sgd", "relu", "cross_entropy")
    return Rules(found.optimizer, found.activation, found.loss, block_matrices=k)


@given(st.integers(1, 2), st.integers(1, 4), st.data())
def test_the_composed_rule_is_an_explicit_pass(k, blocks, data):
    n = k * blocks + 2
    rows = [
        data.draw(st.lists(st.integers(-8, 8).map(lambda e: Fraction(e, 8)), min_size=n, max_size=n))
        for _ in "ab"
    ]
    p = custom(n - 1, *rows, [0] * n)
    run = Propagation(p, setting(k))
    sizes = run.forward(0)
    run.backward(0)
    V = initial_factors(p)
    B = [sum(V[1 + k * i : 1 + k * (i + 1)]) for i in range(blocks)]
    S = V[0] + V[-1] + sum(max(Fraction(0), b) for b in B)
    # Forward: a sum has the larger of both sizes.
    stream = [V[0] + sum(max(Fraction(0), b) for b in B[:i]) for i in range(blocks + 1)]
    assert [sizes.h[k * i] for i in range(blocks + 1)] == stream
    for j in range(n):
        if j in {0, n - 1}:
            assert run.gradient(j) == S - V[j]
        else:
            b = B[(j - 1) // k]
            assert run.gradient(j) == S - max(Fraction(0), b) + b - V[j]


def test_naive_ip_is_not_stationary_with_one_matrix_per_block():
    # h stays of order 1 along the skips; dh = -1 from the readout, c_1 = -1: h^1 changes by order 1, and so
    # do all above.
    found = analyze(preset("ip", 4), block_matrices=1)
    assert found.regime is Regime.FEATURE_LEARNING
    assert (found.steps[1].h, found.steps[1].h_change) == ((0,) * 4, (0,) * 4)
    assert (found.steps[0].f, found.steps[1].f_change) == (-HALF, 0)
    assert analyze(preset("ip", 4)).regime is Regime.TRIVIAL  # without skips


def test_naive_ip_with_two_matrices_per_block_learns_through_the_first():
    found = analyze(preset("ip", 5), block_matrices=2)
    inner = -HALF
    assert found.steps[0].h == (0, inner, 0, inner, 0)
    assert found.steps[1].h_change == (0, inner, 0, inner, 0)
    assert found.regime is Regime.FEATURE_LEARNING
    # The branch: its last matrix takes x of size -1/2 with entries -1, a random sum: -1; its update adds
    # c + dh + x + 1 + x = 2 - 2 (a) - 1 - 1/2 + 1 - 1/2 = -1.
    run = Propagation(found.parameterization, setting(2))
    run.forward(0)
    run.backward(0)
    run.update(0, found.parameterization.phases[0])
    run.forward(1)
    update = run.entries()[2]
    assert update is not None
    assert update + 1 + inner == -1


def test_branches_that_grow_are_unstable_at_the_start():
    wide = custom(3, a=["0"] * 3, b=["0", "1/4", "1"], c=["1"] * 3)
    found = analyze(wide, block_matrices=1)
    assert found.regime is Regime.UNSTABLE
    assert found.steps[0].h == (0, Fraction(1, 4), HALF)
    assert "'mup'" in found.advice


def test_skips_keep_what_linear_activations_would_lose():
    # tanh, vanishing branches: x_0 stays in x_t, so first updates are aligned and nothing is in doubt.
    found = analyze(preset("ip", 4), activation="tanh", block_matrices=1)
    assert found.regime is Regime.FEATURE_LEARNING
    assert all(layer.aligned for layer in found.alignment)
    assert not all(a.aligned for a in analyze(preset("ip-llr", 4), activation="tanh").alignment)


@given(st.sampled_from(["mup", "ntk"]), st.integers(3, 9), st.sampled_from(["sgd", "adam"]))
def test_presets_keep_their_regime(name, layers, optimizer):
    p = preset(name, layers, optimizer=optimizer)
    plain, blocks = (analyze(p, optimizer=optimizer, block_matrices=k) for k in (0, 1))
    assert plain.regime == blocks.regime


@pytest.mark.parametrize(("alpha", "optimizer", "start", "change", "rate", "in_block", "paper"), [
    ("1/2", "sgd", "0", "0", "0", "-1/2", "Depth-muP"),
    ("1/2", "sign", "0", "1/2", "-1/2", "-1/2", "Depth-muP"),
    ("1", "sgd", "0", "-1", "1", "0", "CompleteP"),
    ("1", "adam", "0", "0", "0", "0", "CompleteP"),
    ("3/4", "sgd", "0", "-1/2", "1/2", "-1/4", ""),
    ("0", "sgd", "1/2", "1", "-1", "-1", ""),
])  # fmt: skip
def test_powers_of_the_depth(alpha, optimizer, start, change, rate, in_block, paper):
    found = depth_exponents(alpha, optimizer)
    assert [str(e) for e in (found.start, found.change, found.rate, found.in_block)] == [
        start, change, rate, in_block,
    ]  # fmt: skip
    assert found.published.startswith(paper)
    assert bool(found.published) is bool(paper)
    assert paper in found.summary
    assert ("measure" in found.summary) is (not paper and alpha != "0")


def test_what_is_refused_is_named():
    p = preset("mup", 4)
    for wrong, matched in (
        (3, "must be 0 .*, 1 or 2, not 3"),
        (2, "5 weight matrices do not make blocks of 2"),
    ):
        with pytest.raises(TheoryError, match=matched):
            analyze(p, block_matrices=wrong)
    for wrong in (True, 1.0, "1", [1], -1):
        with pytest.raises(TheoryError, match="must be 0"):
            analyze(p, block_matrices=wrong)
    with pytest.raises(TheoryError, match="do not make blocks"):
        analyze(preset("mup", 1), block_matrices=1)
    with pytest.raises(TheoryError, match="re-weighted"):
        analyze(preset("hp", 4), block_matrices=1)
    with pytest.raises(TheoryError, match="must be at least 0, not '-1/2'"):
        depth_exponents("-1/2")
    found = analyze(p, block_matrices=1)
    with pytest.raises(TheoryError, match="residual blocks"):
        parts_of(found, 1)
    assert str(largest_rate_of(found)) == str(largest_stable_rate(p, block_matrices=1))
    with pytest.raises(TheoryError, match="calibrated rates with residual blocks"):
        largest_stable_rate(p, block_matrices=1, calibrated=True)
    with pytest.raises(TheoryError, match="completion with residual blocks; analyze rates"):
        complete(p.a, p.b, block_matrices=1)


@pytest.mark.parametrize(
    ("name", "depth", "blocks"), [("mup", 4, 1), ("ntk", 5, 2), ("sp", 4, 1), ("ip", 5, 2)]
)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_largest_stable_base_rate_is_stable_and_nothing_above_it(name, depth, blocks, activation):
    p = preset(name, depth)
    found = largest_stable_rate(p, block_matrices=blocks, activation=activation)

    def regime(delta):
        phases = tuple(replace(phase, c=tuple(c - delta for c in phase.c)) for phase in p.phases)
        faster = replace(p, phases=phases)
        return analyze(faster, block_matrices=blocks, activation=activation).regime

    growing = {Regime.UNSTABLE, Regime.CONTROLLED_DIVERGENCE, Regime.MEASURE}
    assert regime(found.stable) not in {Regime.UNSTABLE, Regime.CONTROLLED_DIVERGENCE}
    assert regime(found.stable + Fraction(1, 64)) in growing
    assert regime(found.controlled) is not Regime.UNSTABLE
    assert regime(found.controlled + Fraction(1, 64)) in {Regime.UNSTABLE, Regime.MEASURE}
    if activation == "relu":
        assert found.exact
        assert Regime.MEASURE not in {regime(found.stable), regime(found.controlled + Fraction(1, 64))}
