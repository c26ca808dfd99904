"""Muon, sign-momentum and Lion: values worked by hand, and the rules for any exponents."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory import (
    Parameterization,
    Regime,
    analyze,
    complete,
    custom,
    equivalent,
    largest_stable_rate,
    preset,
    shift,
)
from ipcore.theory.calculus import Propagation
from ipcore.theory.factors import factors, laws
from ipcore.theory.rules import rules

HALF, ZERO = Fraction(1, 2), Fraction(0)
# q of the first, hidden and last layer; r of hidden layers and the last.
Q_AND_R = {
    "muon-unscaled": ("-1/2 0 1/2", "0 -1/2"),
    "muon": ("0 0 1/2", "0 -1/2"),
    "muon-spectral": ("0 0 0", "0 -1"),
    "muon-rms": ("0 1/2 1", "1/2 0"),
    "sign": ("0 1 1", "1 0"),
    "signum": ("0 1 1", "1 0"),
    "lion": ("0 1 1", "1 0"),
}
OPTIMIZERS = st.sampled_from(list(Q_AND_R))
eighths = st.integers(-24, 24).map(lambda k: Fraction(k, 8))


def fractions(text: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(entry) for entry in text.split())


def q(optimizer: str, layers: int) -> tuple[Fraction, ...]:
    first, hidden, last = fractions(Q_AND_R[optimizer][0])
    return (first, *[hidden] * (layers - 2), last)


@pytest.mark.parametrize("optimizer", Q_AND_R)
def test_what_an_update_changes_forward_and_backward(optimizer: str) -> None:
    """Tiny initial weights and rates, so that one update is seen alone.

    muP's a, b and rates that move h^l by m^{q - c - a + e(x)}; e(dx) through the update is r - c - a + e(dh).
    """
    p = preset("mup", 3)
    run = Propagation(p, rules(optimizer, "relu", "cross_entropy"))
    run.forward(0)
    run.backward(0)
    run.update(0, p.phases[0])
    sizes = run.forward(1)
    wanted = q(optimizer, 4)
    x = (ZERO, *run.x)
    for i, (a, c) in enumerate(zip(p.a, p.phases[0].c, strict=True)):
        assert sizes.from_update[i] == -c - a + wanted[i] + x[i]
    hidden, last = fractions(Q_AND_R[optimizer][1])
    for i, r in ((3, last), (2, hidden), (1, hidden)):
        dh = ZERO
        assert run._back_through_update(i, dh, None) == -p.phases[0].c[i] - p.a[i] + r


# optimizer, preset or c from SP's initial weights (L = 3), changes of h and f at step 1, regime
SP = custom(3, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["0"] * 3)
SHRUNK = Parameterization(SP.a, SP.b, custom(3, ["0"] * 4, ["0"] * 4, ["1/2", "1/2", "1/2", "0"]).phases)
WORKED = [
    ("muon-spectral", preset("mup-yang-hu", 3, optimizer="muon-spectral"), "0 0 0 0", "feature_learning"),
    ("muon-spectral", SP, "0 0 0 1/2", "controlled_divergence"),
    ("muon-spectral", SHRUNK, "-1/2 -1/2 -1/2 0", "operator"),
    ("muon", SP, "0 0 0 1/2", "controlled_divergence"),
    ("muon-unscaled", SP, "-1/2 0 0 1/2", "controlled_divergence"),
    ("muon-rms", SP, "0 1/2 1 2", "unstable"),
    ("lion", SP, "0 1 2 3", "unstable"),
]


@pytest.mark.parametrize(("optimizer", "p", "changes", "regime"), WORKED)
def test_hand_worked(optimizer: str, p: Parameterization, changes: str, regime: str) -> None:
    found = analyze(p, optimizer=optimizer)
    first = found.steps[1]
    assert (*first.h_change, first.f_change) == fractions(changes)
    assert found.regime == regime
    assert found.settled


def test_with_the_spectral_factor_one_rate_serves_all() -> None:
    """c = -a: one learning rate for the effective weights, whatever the depth."""
    for hidden_layers in (1, 2, 3, 7):
        p = preset("mup", hidden_layers, optimizer="muon-spectral")
        assert p.c_at(0) == tuple(-a for a in p.a)
        assert analyze(p, optimizer="muon-spectral").regime == Regime.FEATURE_LEARNING
        sp = preset("sp", hidden_layers, optimizer="muon-spectral")
        assert set(sp.c_at(0)) == {ZERO}
        found = largest_stable_rate(sp, optimizer="muon-spectral")
        assert (found.stable, found.controlled, found.exact) == (-HALF, ZERO, True)


@pytest.mark.parametrize("optimizer", Q_AND_R)
def test_presets(optimizer: str) -> None:
    """muP, NTK and IP have the rates of the largest completion; SP one rate; none has an epsilon."""
    for name in ("mup", "ntk", "ip", "mup-yang-hu", "sp", "sp-large", "sp-per-layer"):
        for hidden_layers in (1, 2, 4):
            p = preset(name, hidden_layers, optimizer=optimizer)
            assert all(phase.d is None for phase in p.phases)
            if not name.startswith("sp"):
                assert complete(p.a, p.b, optimizer=optimizer).parameterization == p
    for hidden_layers in (2, 3, 5):
        for name in ("sp-large", "sp-per-layer"):
            found = analyze(preset(name, hidden_layers, optimizer=optimizer), optimizer=optimizer)
            assert found.regime == Regime.CONTROLLED_DIVERGENCE, name


@st.composite
def initial(draw: st.DrawFn) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """(a, b) with nothing that grows at the start."""
    layers = draw(st.integers(2, 5))
    least = (ZERO, *[HALF] * (layers - 2), HALF)
    sums = tuple(x + Fraction(draw(st.integers(0, 12)), 8) for x in least)
    a = tuple(draw(eighths) for _ in range(layers))
    return a, tuple(s - x for s, x in zip(sums, a, strict=True))


@settings(max_examples=60, deadline=None)
@given(initial(), OPTIMIZERS)
def test_completion_has_a_closed_form(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]], optimizer: str
) -> None:
    """c_l = -a_l + q_l + [l > 1] h1^{l-1} - R_l, the same at all steps; all change by order 1 iff R = 0."""
    a, b = start
    s = [x + y for x, y in zip(a, b, strict=True)]
    layers = len(a)
    h0 = [-s[0]]
    for i in range(1, layers - 1):
        h0.append(h0[-1] + HALF - s[i])
    R = [ZERO] * (layers - 1)
    above = ZERO
    for i in range(layers - 2, -1, -1):
        v = 1 - s[-1] if i == layers - 2 else HALF - s[i + 1]
        R[i] = above = min(ZERO, above - v)
    h1 = [max(h, r) for h, r in zip(h0, R, strict=True)]
    c = [x + r - extra for x, r, extra in zip(q(optimizer, layers), (ZERO, *h1), (*R, ZERO), strict=True)]
    c = [rate - x for rate, x in zip(c, a, strict=True)]
    done = complete(a, b, optimizer=optimizer)
    assert done.changes == tuple(R)
    assert [phase.c for phase in done.parameterization.phases] == [tuple(c)]
    v_inner = [HALF - x for x in s[1:-1]]
    assert (set(R) == {ZERO}) == (s[-1] >= 1 and all(v <= 0 for v in v_inner))
    found = analyze(done.parameterization, optimizer=optimizer)
    assert found.regime not in (Regime.UNSTABLE, Regime.CONTROLLED_DIVERGENCE)


@settings(max_examples=60, deadline=None)
@given(initial(), OPTIMIZERS, st.data())
def test_factors_are_reached_with_the_first_update_and_stay(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]], optimizer: str, data: st.DataObject
) -> None:
    """V_l = max(1/2 - s_l, q_l - c_l - a_l) in hidden layers, for any gradients."""
    a, b = start
    c = tuple(data.draw(eighths) for _ in a)
    p = custom(len(a) - 1, a, b, c)
    run = Propagation(p, rules(optimizer, "relu", "cross_entropy"))
    found = []
    for t in range(4):
        run.forward(t)
        run.backward(t)
        run.update(t, p.phases[0])
        found.append(factors(p, run.entries()))
    assert len(set(found)) == 1
    caps = [law.cap for law in laws(p, optimizer, p.phases[0])]
    for i, (V, cap) in enumerate(zip(found[0], caps, strict=True)):
        inner = 0 < i < len(a) - 1
        move = q(optimizer, len(a))[i] - c[i] - a[i] - (1 if i == len(a) - 1 else 0)
        assert cap == move
        assert max((HALF if inner else ZERO) - a[i] - b[i], move) == V


@settings(max_examples=100, deadline=None)
@given(initial(), OPTIMIZERS, st.data())
def test_the_decision_for_all_steps_is_that_of_iterating(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]], optimizer: str, data: st.DataObject
) -> None:
    a, b = start
    p = custom(len(a) - 1, a, b, tuple(data.draw(eighths) for _ in a))
    run = Propagation(p, rules(optimizer, "relu", "logistic"))
    largest = run.forward(0).h
    run.backward(0)
    for t in range(6):
        run.update(t, p.phases[0])
        sizes = run.forward(t + 1)
        largest = tuple(max(pair) for pair in zip(largest, sizes.h, strict=True))
        run.backward(t + 1)
    hidden, output = max(largest[:-1]), largest[-1]
    regime = analyze(p, optimizer=optimizer, loss="logistic").regime
    assert (regime == Regime.UNSTABLE) == (hidden > 0)
    assert (regime == Regime.CONTROLLED_DIVERGENCE) == (hidden <= 0 < output)


@pytest.mark.parametrize("optimizer", ["muon", "muon-rms", "lion"])
def test_the_gauge_is_that_of_signs(optimizer: str) -> None:
    p = preset("mup", 3, optimizer=optimizer)
    by = [Fraction(1), Fraction(-1, 3), Fraction(2), Fraction(1, 2)]
    moved = shift(p, by, optimizer=optimizer)
    assert moved.c_at(0) == tuple(c - t for c, t in zip(p.c_at(0), by, strict=True))
    assert equivalent(p, moved, optimizer)
    assert not equivalent(p, moved, "sgd")
    assert analyze(p, optimizer=optimizer).steps == analyze(moved, optimizer=optimizer).steps


def test_squared_errors_leave_hidden_layers_alone() -> None:
    found = analyze(SP, optimizer="muon", loss="mse")
    assert (found.regime, found.hidden_bounded) == (Regime.UNSTABLE, True)


def test_words() -> None:
    slow = analyze(custom(2, ["0"] * 3, ["0", "1/2", "1"], ["1"] * 3), optimizer="muon")
    assert slow.regime == Regime.TRIVIAL
    assert "orthogonalized updates do not depend on the size of gradients" in slow.reason
    assert "2310.17813" in slow.source
