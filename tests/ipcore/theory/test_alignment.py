"""First updates that are not aligned with their input, and the analysis of them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ipcore.theory import Regime, analyze, complete, preset

HALF = Fraction(1, 2)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "elu", "identity"])
@pytest.mark.parametrize("hidden_layers", [3, 4, 6])
def test_ip_llr_with_an_activation_linear_at_0(activation: str, hidden_layers: int) -> None:
    result = analyze(preset("ip-llr", hidden_layers), activation=activation)
    # Uncalibrated, the deficit compounds: e(h_1^l) = -(l-2)/2 from layer 2 on, e(f_1) = -(L-2)/2.
    first = result.steps[1]
    assert first.exact
    assert first.h == (0, *[-Fraction(layer - 2, 2) for layer in range(2, hidden_layers + 1)])
    assert first.f == -Fraction(hidden_layers - 2, 2)
    # Per layer, calibrated first rates grow like m^0 at layer 2 and m^{1/2} above and at the readout.
    assert [a.deficit for a in result.alignment] == [0, *[HALF] * (hidden_layers - 1)]
    assert result.regime == Regime.MEASURE
    assert not result.settled
    assert not result.steps[2].exact
    assert "linear at 0" in result.reason
    assert "W^3 by m^(-1/2)" in result.notes[0]


def test_ip_llr_gelu_at_four_hidden_layers_is_explained_layer_by_layer() -> None:
    result = analyze(preset("ip-llr", 4), activation="gelu")
    assert (
        "h^3 m^(-1/2) instead of 1, h^4 m^(-1) instead of 1, the output f m^(-1) instead of 1"
        in result.summary
    )
    assert "no rates make the first step both non-vanishing and stable" in result.advice


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
def test_a_kink_at_0_aligns_everything(activation: str) -> None:
    result = analyze(preset("ip-llr", 5), activation=activation)
    assert all(a.aligned for a in result.alignment)
    assert (result.regime, result.settled) == (Regime.FEATURE_LEARNING, True)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "identity"])
@pytest.mark.parametrize("name", ["mup", "ntk", "sp-stable", "ip-bias", "ip-non-centered"])
def test_layers_of_order_1_are_aligned_for_every_activation(name: str, activation: str) -> None:
    result = analyze(preset(name, 4), activation=activation)
    assert all(a.aligned for a in result.alignment)
    assert result.settled or (name, activation) == ("ip-bias", "identity")


@pytest.mark.parametrize("activation", ["gelu", "tanh", "elu", "identity"])
def test_naive_ip_is_trivial_whatever_the_alignment(activation: str) -> None:
    # The aligned calculus is an upper bound: what vanishes there vanishes.
    result = analyze(preset("ip", 4), activation=activation)
    assert (result.regime, result.settled) == (Regime.TRIVIAL, True)


@pytest.mark.parametrize("activation", ["gelu", "tanh"])
def test_two_hidden_layers_are_settled_because_the_initial_readout_carries_the_change(
    activation: str,
) -> None:
    result = analyze(preset("ip-llr", 2), activation=activation)
    assert (result.regime, result.settled) == (Regime.FEATURE_LEARNING, True)
    assert [a.deficit for a in result.alignment] == [0, HALF]


def test_removing_initial_matrices_separates_odd_activations_only() -> None:
    # With HP the initial matrices hardly count after step 0. Odd activations then lose alignment, as IP-LLR
    # does; GELU keeps it, because its activations of order 1 have a mean.
    assert analyze(preset("hp", 3), activation="tanh").regime == Regime.MEASURE
    assert analyze(preset("hp", 3), activation="identity").regime == Regime.MEASURE
    assert analyze(preset("hp", 3), activation="gelu").regime == Regime.FEATURE_LEARNING


@pytest.mark.parametrize("activation", ["gelu", "tanh", "elu", "identity"])
def test_completion_never_returns_larger_rates_as_a_cure(activation: str) -> None:
    ip = preset("ip", 4)
    done = complete(ip.a, ip.b, activation=activation)
    assert done.parameterization == preset("ip-llr", 4)
    assert not done.maximal
    assert "no first step is both non-vanishing and stable" in done.reason
    assert complete(preset("ip", 2).a, preset("ip", 2).b, activation=activation).maximal
