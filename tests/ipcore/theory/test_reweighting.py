"""Re-weighted initial matrices: the signal through W_0 after the switch, worked by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ipcore.theory import Parameterization, RatePhase, Regime, Reweighting, analyze, preset

ZERO, HALF = Fraction(0), Fraction(1, 2)


@pytest.mark.parametrize("name", ["hp", "hpz", "ip-llr"])
@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_hybrids_agree_with_ip_llr_at_step_1(name: str, activation: str) -> None:
    # W_0^l acts on x_1, which has shrunk too: m^{-1/2} W_0^3 x_1^2 is -1/2 + 1/2 - 1/2 + 0 = -1/2, layer 4
    # loses another 1/2. The readout passes on what h^5 = -3/2 learned: -1 + 1 - 3/2.
    first = analyze(preset(name, 5), activation=activation).steps[1]
    assert first.h == (0, 0, -HALF, -1, -3 * HALF)
    assert first.f == -3 * HALF
    assert first.exact


@pytest.mark.parametrize("name", ["hp", "hpz"])
def test_aligned_activations_keep_every_layer_of_order_1(name: str) -> None:
    result = analyze(preset(name, 5), activation="relu")
    assert all(set(sizes.h) == {0} for sizes in result.steps)
    assert (result.regime, result.steps[-1].f) == (Regime.FEATURE_LEARNING, 0)


def test_a_removed_matrix_makes_the_layers_above_shrink_too() -> None:
    # muP, but layer 2 learns m^{-1/2} more slowly and loses its initial matrix: h_1^2 = m^{-1/2}. Layer 3
    # keeps W_0^3, which now acts on m^{-1/2}: 1/2 - 1/2 - 1/2, and so does its update; f follows.
    mup = preset("mup", 3)
    slow = RatePhase(0, (-Fraction(1), -HALF, -Fraction(1), -Fraction(1)))
    p = Parameterization(mup.a, mup.b, (slow,), reweightings=(Reweighting(1, (ZERO, None, ZERO, ZERO)),))
    result = analyze(p)
    assert [(sizes.h, sizes.f) for sizes in result.steps[1:]] == [((0, -HALF, -HALF), -HALF)] * (
        len(result.steps) - 1
    )
    assert result.regime == Regime.TRIVIAL


def test_shrinking_compounds_over_the_layers() -> None:
    # NTK with every hidden W_0 at m^{-1/2}: h^l loses 1/2 per layer, W_0^5 sums what is left of x^4.
    ntk = preset("ntk", 4)
    halved = Reweighting(1, (ZERO, HALF, HALF, HALF, ZERO))
    result = analyze(Parameterization(ntk.a, ntk.b, ntk.phases, reweightings=(halved,)))
    assert result.steps[1].h == (0, -HALF, -1, -3 * HALF)
    # The update adds m^{-1/2} + m^{1/2} x^{l-1}: it shrinks with the layer below. f: -1/2 + 1 - 3/2.
    assert result.steps[1].f == -1
    assert result.regime == Regime.TRIVIAL


def test_growing_weights_above_shrunk_layers() -> None:
    # Layer 2 loses m^{-1/2}, layer 3 gains it back: h^3 and f stay of order 1 through W_0 alone.
    ntk = preset("ntk", 3)
    p = Parameterization(
        ntk.a,
        ntk.b,
        (RatePhase(0, (Fraction(9),) * 4),),
        reweightings=(Reweighting(1, (ZERO, HALF, -HALF, ZERO)),),
    )
    first = analyze(p).steps[1]
    assert (first.h, first.f) == ((0, -HALF, 0), 0)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs", "identity"])
@pytest.mark.parametrize("hidden_layers", [2, 3, 6])
def test_hp_is_ip_llr_from_step_1_on(activation: str, hidden_layers: int) -> None:
    # 1-homogeneous activations: the two train the same network after the first step.
    hybrid = analyze(preset("hp", hidden_layers), activation=activation, steps=4)
    llr = analyze(preset("ip-llr", hidden_layers), activation=activation, steps=4)
    for one, other in zip(hybrid.steps[1:], llr.steps[1:], strict=True):
        assert (one.h, one.f, one.exact) == (other.h, other.f, other.exact)


def test_weights_that_count_as_before_change_nothing() -> None:
    mup = preset("mup", 3)
    same = Parameterization(mup.a, mup.b, mup.phases, reweightings=(Reweighting(1, (ZERO,) * 4),))
    for activation in ("relu", "tanh"):
        assert analyze(same, activation=activation).steps == analyze(mup, activation=activation).steps
