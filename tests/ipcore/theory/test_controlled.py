"""Controlled divergence: the output grows, hidden layers never do. Values worked by hand from the factors."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ipcore.theory import Parameterization, RatePhase, Regime, analyze, custom, preset

HALF = Fraction(1, 2)
EIGHTH = Fraction(1, 8)


def sp(hidden_layers: int, c: Fraction) -> Parameterization:
    return custom(hidden_layers, a=["0"] * 3, b=["0", "1/2", "1/2"], c=[c] * 3)


def ntk(hidden_layers: int, c: Fraction) -> Parameterization:
    return custom(hidden_layers, a=["0", "1/2", "1/2"], b=["0"] * 3, c=[c] * 3)


def faster(p: Parameterization, delta: Fraction) -> Parameterization:
    phases = tuple(RatePhase(phase.start, tuple(c - delta for c in phase.c), phase.d) for phase in p.phases)
    return Parameterization(p.a, p.b, phases)


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic"])
@pytest.mark.parametrize(
    ("build", "optimizer", "hidden_layers", "lowest", "stable"),
    [
        (sp, "sgd", 1, 0, 1),
        (sp, "sgd", 2, HALF, 1),
        (sp, "sgd", 5, HALF, 1),
        (sp, "momentum", 3, HALF, 1),
        (sp, "adam", 1, 0, 1),
        (sp, "adam", 2, 1, HALF * 3),
        (sp, "sign", 4, 1, HALF * 3),
        (ntk, "sgd", 1, -HALF, 0),
        (ntk, "sgd", 3, -HALF, 0),
    ],
)
def test_rates_between_controlled_and_stable(build, optimizer, hidden_layers, lowest, stable, loss) -> None:
    def regime(c: Fraction, loss: str = loss) -> Regime:
        return analyze(build(hidden_layers, c), optimizer=optimizer, loss=loss).regime

    assert regime(lowest - EIGHTH) == Regime.UNSTABLE
    for c in (lowest, stable - EIGHTH):
        assert regime(c) == Regime.CONTROLLED_DIVERGENCE
        assert regime(c, "mse") == Regime.UNSTABLE
    for which in (loss, "mse"):
        at = regime(stable, which)
        assert at in {Regime.KERNEL, Regime.OPERATOR, Regime.FEATURE_LEARNING}


@pytest.mark.parametrize("s", [EIGHTH, Fraction(1, 4), HALF])
@pytest.mark.parametrize("hidden_layers", [1, 2, 4])
def test_between_mup_and_ntk_rates_may_be_larger_by_s(s: Fraction, hidden_layers: int) -> None:
    p = preset(f"up:{s}", hidden_layers)
    assert analyze(faster(p, s / 2)).regime == Regime.CONTROLLED_DIVERGENCE
    assert analyze(faster(p, s)).regime == Regime.CONTROLLED_DIVERGENCE
    assert analyze(faster(p, s + EIGHTH)).regime == Regime.UNSTABLE


@pytest.mark.parametrize("hidden_layers", [1, 2, 4])
def test_mup_has_no_controlled_rates(hidden_layers: int) -> None:
    assert analyze(faster(preset("mup", hidden_layers), EIGHTH)).regime == Regime.UNSTABLE


def test_sp_at_one_half_learns_features_while_its_output_grows() -> None:
    # rho = (-1, 0, 0, 0): layers 2 and 3 learn, layer 1 changes by 1/m, f is m^{1/2}.
    found = analyze(sp(3, HALF))
    assert found.regime == Regime.CONTROLLED_DIVERGENCE
    assert (found.settled, found.hidden_bounded) == (True, True)
    assert found.steps[-1].h_change == (-1, 0, 0)
    assert found.steps[-1].f == HALF
    assert [(move.layer, move.step) for move in found.features] == [(2, 1), (3, 1)]
    assert "m^(1/2)" in found.reason and "hidden layer stays bounded" in found.reason
    assert found.advice
    assert "controlled divergence" in str(found)


def test_sp_at_three_quarters_by_hand() -> None:
    # k = (-3/4, 1/4, 1/4, -3/4), S = 0: changes -3/4 - 1/2 at layer 1; 1/4 - 1/2 at layers 2 and 3.
    found = analyze(sp(3, Fraction(3, 4)), steps=3)
    quarter = Fraction(1, 4)
    assert found.steps[3].h_change == (-5 * quarter, -quarter, -quarter)
    assert found.regime == Regime.CONTROLLED_DIVERGENCE


def test_squared_errors_feed_the_output_back_under_sgd_but_not_under_signs() -> None:
    squared = analyze(sp(3, HALF), loss="mse", steps=2)
    assert (squared.regime, squared.hidden_bounded) == (Regime.UNSTABLE, False)
    # f_1 = m^{1/2} enters e(df_1): the second step makes h^2 m^{1/2}, h^3 m.
    assert squared.steps[2].h == (0, HALF, 1)
    for optimizer in ("sign", "adam"):
        signs = analyze(sp(3, Fraction(1)), optimizer=optimizer, loss="mse")
        assert (signs.regime, signs.hidden_bounded) == (Regime.UNSTABLE, True)
        assert any("hidden layers stay bounded" in note for note in signs.notes)


def test_squared_errors_stay_bounded_inside_if_rates_are_small_beside_a_large_start() -> None:
    # f_0 = m^{1/2} (a readout of order 1), and rates so small that updates move f by at most as much.
    small = custom(1, a=["0", "0"], b=["0", "0"], c=["2", "2"])
    found = analyze(small, loss="mse")
    assert (found.regime, found.hidden_bounded) == (Regime.UNSTABLE, True)
    # T_l = 1 + k_l + 2 (S - V_l) = 1 - c: bounded up to c = 1.
    edge = custom(1, a=["0", "0"], b=["0", "0"], c=["1", "1"])
    assert analyze(edge, loss="mse").hidden_bounded
    beyond = custom(1, a=["0", "0"], b=["0", "0"], c=["7/8", "7/8"])
    assert not analyze(beyond, loss="mse").hidden_bounded


def test_a_start_that_is_large_in_the_output_alone_is_controlled() -> None:
    large = custom(2, a=["0"] * 3, b=["0", "1/2", "0"], c=["1"] * 3)
    found = analyze(large)
    assert (found.regime, found.steps[0].f) == (Regime.CONTROLLED_DIVERGENCE, HALF)


def test_adam_below_epsilon_is_gradient_descent_kernel_and_not_operator() -> None:
    ntk3 = preset("ntk", 3)
    zeros = (Fraction(0),) * 4
    # Gradients of the NTK's w are -1/2, -1, -1, -1/2 at all steps.
    below = Parameterization(ntk3.a, ntk3.b, (RatePhase(0, zeros, zeros),))
    assert analyze(below, optimizer="adam").regime == Regime.KERNEL
    assert analyze(below, optimizer="adam").steps == analyze(ntk3).steps
    # Epsilon as small as the gradient of the readout alone: one layer moves by signs.
    last = (Fraction(0), Fraction(0), Fraction(0), HALF)
    mixed = Parameterization(ntk3.a, ntk3.b, (RatePhase(0, (*zeros[:3], HALF), last),))
    assert analyze(mixed, optimizer="adam").regime == Regime.OPERATOR
