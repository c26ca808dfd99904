"""Verdicts for all steps: against exact iteration, and in cases in which iteration never ends."""

from __future__ import annotations

import functools
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory import (
    ACTIVATIONS,
    LOSSES,
    OPTIMIZERS,
    Analysis,
    Biases,
    Parameterization,
    RatePhase,
    Regime,
    analyze,
    custom,
    preset,
)
from ipcore.theory.calculus import Propagation
from ipcore.theory.rules import Rules, rules
from ipcore.theory.sizes import Sizes
from tests.ipcore.theory.effort import cpu_seconds

ZERO = Fraction(0)
eighths = st.integers(-24, 24).map(lambda k: Fraction(k, 8))


@st.composite
def parameterizations(draw: st.DrawFn) -> Parameterization:
    """Initial sizes that do not grow (else there is nothing to decide), rates near balance or anywhere."""
    hidden_layers = draw(st.integers(1, 3))
    layers = hidden_layers + 1
    sums = [
        (Fraction(1, 2) if 0 < i < hidden_layers else ZERO) + Fraction(draw(st.integers(0, 12)), 8)
        for i in range(layers)
    ]
    a = draw(st.lists(eighths, min_size=layers, max_size=layers).map(tuple))
    b = tuple(s - x for s, x in zip(sums, a, strict=True))
    phases = []
    for start in range(draw(st.integers(1, 2))):
        # k_l + S - 2 V_l = rho_l, for rho_l of at most 1: that is where verdicts are in doubt.
        V = [(Fraction(1, 2) if 0 < i < hidden_layers else ZERO) - s for i, s in enumerate(sums)]
        rho = [Fraction(draw(st.integers(-8, 6)), 8) for _ in range(layers)]
        c = tuple(
            (1 if 0 < i < hidden_layers else 0) - 2 * a[i] + sum(V) - 2 * V[i] - rho[i] for i in range(layers)
        )
        d = draw(st.none() | st.lists(eighths, min_size=layers, max_size=layers).map(tuple))
        phases.append(RatePhase(start, c, d))
    return Parameterization(a, b, tuple(phases))


def brute_force(p: Parameterization, setting: Rules, steps: int) -> tuple[str, list[Sizes]]:
    """The regime from the definitions, by iteration until the verdict is certain or nothing changes."""
    run = Propagation(p, setting)
    sizes = [run.forward(0)]
    run.backward(0)
    L = p.hidden_layers
    for t in range(steps):
        if any(h is not None and h > 0 for h in sizes[-1].h[:L]):
            return "unstable", sizes
        before = run.state()
        run.update(t, p.phase_at(t))
        sizes.append(run.forward(t + 1))
        run.backward(t + 1)
        if run.state() == before and t >= 3:
            break
    else:
        return "growing", sizes
    if any(s.h[L] is not None and s.h[L] > 0 for s in sizes):
        return ("unstable" if setting.loss == "mse" else "controlled_divergence"), sizes
    changes = [s.learned(L) for s in sizes[1:]]
    if all(change is None or change < 0 for change in changes):
        return "trivial", sizes
    learned = [(s.learned(i), sizes[0].h[i]) for s in sizes[1:] for i in range(L)]
    if any(change is not None and start is not None and change >= start for change, start in learned):
        return "feature_learning", sizes
    return "kernel", sizes


def agrees_with_brute_force(p: Parameterization, optimizer: str, activation: str, loss: str) -> None:
    found = analyze(p, optimizer=optimizer, activation=activation, loss=loss)
    regime, sizes = brute_force(p, rules(optimizer, activation, loss), steps=400)
    if regime == "growing":
        # Growth per step is at least 1/16, so 400 steps without an end never end.
        assert found.regime == "unstable"
        return
    assert found.regime.replace("operator", "kernel") == regime
    assert found.settled
    if regime not in {"unstable"}:
        assert found.steps[-1].h == sizes[-1].h[:-1]
        assert found.steps[-1].f == sizes[-1].h[-1]


@settings(max_examples=120, deadline=None)
@given(
    parameterizations(),
    st.sampled_from(["sgd", "momentum", "adam", "sign"]),
    st.sampled_from(["relu", "abs", "relu^2"]),
    st.sampled_from(["cross_entropy", "logistic", "mse"]),
)
def test_verdicts_are_those_of_exact_iteration(
    p: Parameterization, optimizer: str, activation: str, loss: str
) -> None:
    agrees_with_brute_force(p, optimizer, activation, loss)


@settings(max_examples=60, deadline=None)
@given(parameterizations(), st.sampled_from(["sgd", "adam"]), st.sampled_from(["cross_entropy", "mse"]))
def test_offset_activations_never_grow_for_ever_under_bounded_derivatives(
    p: Parameterization, optimizer: str, loss: str
) -> None:
    found = analyze(p, optimizer=optimizer, activation="sigmoid", loss=loss)
    regime, _ = brute_force(p, rules(optimizer, "sigmoid", loss), steps=400)
    if found.regime != Regime.MEASURE and regime != "growing":
        assert found.regime.replace("operator", "kernel") == regime


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_growth_that_takes_thousands_of_steps_is_found_at_once(optimizer: str, loss: str) -> None:
    # rho = 1/200 twice: h reaches order 1 after some 2000 steps.
    slow = custom(1, a=["0", "0"], b=["10", "10"], c=["-1/200"] * 2)
    found = analyze(slow, optimizer=optimizer, loss=loss)
    assert (found.regime, found.settled) == (Regime.UNSTABLE, True)
    assert "add up to 1/100 > 0" in found.reason and "W^1 and W^2" in found.reason
    assert len(found.steps) < 10
    # The verdict does not depend on the number of steps.
    assert analyze(slow, optimizer=optimizer, loss=loss, steps=50).regime == Regime.UNSTABLE
    bounded = custom(1, a=["0", "0"], b=["10", "10"], c=["-1/200", "1/200"])
    assert analyze(bounded, optimizer=optimizer, loss=loss).regime == Regime.TRIVIAL


def test_a_last_phase_far_away_counts() -> None:
    calm, wild = (Fraction(5), Fraction(5)), (Fraction(-1, 200),) * 2
    p = Parameterization((ZERO,) * 2, (Fraction(10),) * 2, (RatePhase(0, calm), RatePhase(10**9, wild)))
    assert analyze(p).regime == Regime.UNSTABLE


def test_growth_in_a_phase_too_long_to_follow_is_left_open() -> None:
    wild, calm = (Fraction(-1, 10**6),) * 2, (Fraction(50),) * 2
    p = Parameterization((ZERO,) * 2, (Fraction(10),) * 2, (RatePhase(0, wild), RatePhase(10**5, calm)))
    found = analyze(p)
    assert (found.regime, found.settled) == (Regime.MEASURE, False)
    assert "no rule decides" in found.reason


@pytest.mark.parametrize(("hidden_layers", "marginal"), [(2, False), (3, True), (4, False)])
def test_naive_ip_is_marginal_at_three_hidden_layers(hidden_layers: int, marginal: bool) -> None:
    # rho = (-1, 0, 0, -1) at L = 3, all below 0 at L = 4.
    found = analyze(preset("ip", hidden_layers))
    assert found.marginal == marginal
    assert any("marginal" in note for note in found.notes) == marginal


def test_degrees_that_are_no_integers_may_approach_what_decides() -> None:
    # V_1 <- k_1 + V_2 + V_1 / 2 at degree 3/2, k_1 + V_2 = 0: h^1 is -1, -1/2, -1/4, .. -> 0, and f changes
    # by 1 - s_2 + 3/2 h^1 -> 1 - s_2.
    def found(last: str, c: str) -> Analysis:
        p = custom(1, a=["0", "0"], b=["1", last], c=[c, "9"])
        return analyze(p, activation="relu^3/2")

    never_reached = found("1", "-1")
    assert (never_reached.regime, never_reached.settled) == (Regime.MEASURE, False)
    assert "without reaching it" in never_reached.reason
    above = found("7/8", "-7/8")
    assert (above.regime, above.hidden_bounded) == (Regime.CONTROLLED_DIVERGENCE, True)
    # Each step halves the distance, and fractions get longer and longer, so the iteration is bounded.
    p = custom(1, a=["0", "0"], b=["1", "1"], c=["-1", "9"])
    asked = analyze(p, activation="relu^3/2", steps=50_000)
    assert len(asked.steps) < 3_000
    assert any("not shown" in note for note in asked.notes)
    below = found("9/8", "-9/8")
    assert (below.regime, below.settled) == (Regime.TRIVIAL, False)
    assert any("the verdict holds for all steps" in note for note in below.notes)


def test_biases_of_their_own_are_iterated() -> None:
    assert analyze(preset("ip-bias", 3)).settled
    zeros, ones = (ZERO,) * 2, (Fraction(1),) * 2
    slow = RatePhase(0, (Fraction(-1, 200),) * 2)
    p = Parameterization(
        zeros, (Fraction(10),) * 2, (slow,), Biases(ones, (Fraction(20),) * 2, (RatePhase(0, ones),))
    )
    found = analyze(p)
    assert (found.regime, found.settled) == (Regime.MEASURE, False)


@pytest.mark.parametrize(
    ("name", "activation"),
    [("ip", "relu"), ("ip", "sigmoid"), ("ip", "relu^2"), ("ip-llr", "gelu"), ("ip-non-centered", "tanh")],
)
def test_a_thousand_layers_take_less_than_two_seconds(name: str, activation: str) -> None:
    """Half of one on an idle core; all combinations: `python -m tests.benchmarks.theory --deep`."""
    p = preset(name, 1000)
    assert cpu_seconds(lambda: analyze(p, activation=activation), 2) < 2


def test_a_hundred_random_networks_take_less_than_50_ms_each() -> None:
    """Up to 20 layers, exponents that are multiples of 1/8 of size at most 3, whatever `analyze` covers."""
    draw = random.Random(17)
    for _ in range(100):
        layers = draw.randint(1, 20)
        a, b, c = ([Fraction(draw.randint(-24, 24), 8) for _ in range(layers + 1)] for _ in range(3))
        setting: dict[str, object] = {
            "optimizer": draw.choice(list(OPTIMIZERS)),
            "activation": draw.choice([*ACTIVATIONS, "relu^2"]),
            "loss": draw.choice(list(LOSSES)),
        }
        setting |= draw.choice(
            [{}, {}, {"alignment": "full"}, {"normalization": "rms"}, {"block_matrices": int(layers > 1)}]
        )
        p = custom(layers, a=a, b=b, c=c)
        call = functools.partial(analyze, p, **setting)  # type: ignore[arg-type]
        assert cpu_seconds(call, 0.05) < 0.05, (p, setting)


def test_answers_stay_small_however_many_steps_are_asked_for() -> None:
    found = analyze(preset("sp", 3), steps=5_000)
    assert found.regime == Regime.UNSTABLE
    assert len(str(found.to_dict())) < 20_000
    assert any("not shown" in note for note in found.notes)
    deep = analyze(preset("sp", 100), steps=1_000)
    assert len(str(deep.to_dict())) < 100_000
    steady = analyze(preset("mup", 100), steps=1_000)
    assert len(steady.steps) == 1_001 and not any("not shown" in note for note in steady.notes)
    powers = analyze(preset("ip", 200), activation="relu^2", steps=500)
    assert len(str(powers.to_dict())) < 5_000_000
    assert len(powers.steps) < 501


def test_layers_that_move_by_signs_are_not_marginal() -> None:
    # IP's small rates with Adam: updates of order of the matrices, but they do not depend on each other.
    p = custom(3, a=["0", "1", "1"], b=["0"] * 3, c=["2", "1/2", "2"])
    found = analyze(p, optimizer="sign")
    assert (found.regime, found.marginal) == (Regime.TRIVIAL, False)
