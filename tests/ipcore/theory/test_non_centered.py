"""Initial weights with a mean, and the loss that makes it cancel; docs/theory.md derives it."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ipcore.theory import Regime, analyze, complete, preset

HALF = Fraction(1, 2)


@pytest.mark.parametrize("loss", ["logistic", "mse"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
@pytest.mark.parametrize("hidden_layers", [1, 2, 5])
def test_where_nothing_cancels_every_layer_moves_from_the_first_step(
    loss: str, activation: str, hidden_layers: int
) -> None:
    result = analyze(preset("ip-non-centered", hidden_layers), loss=loss, activation=activation)
    assert result.regime == Regime.FEATURE_LEARNING
    assert [(move.layer, move.step) for move in result.features] == [(i + 1, 1) for i in range(hidden_layers)]


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("hidden_layers", [2, 3, 5])
def test_softmax_takes_half_a_power_from_the_first_step_of_all_layers_but_the_last(
    activation: str, hidden_layers: int
) -> None:
    # dx_0^L = g^T df / m is centred: its sum over neurons is m^{-1/2}, so dx^{L-1} = m^{-3/2} instead of 1/m,
    # and with it all below. c = -1 and -2 (with the law of large numbers) bring h^1..h^{L-1} to m^{-1/2}.
    # The update of the readout is along x_0^L, which has a mean: from step 1 on dx^L has one, of its size.
    result = analyze(preset("ip-non-centered", hidden_layers), activation=activation)
    assert result.steps[1].h_change == (*[-HALF] * (hidden_layers - 1), 0)
    assert result.steps[1].f_change == 0
    assert result.steps[2].h_change == (0,) * hidden_layers
    assert result.regime == Regime.FEATURE_LEARNING
    moves = [(layer, 2) for layer in range(1, hidden_layers)]
    assert [(move.layer, move.step) for move in result.features] == [*moves, (hidden_layers, 1)]
    assert any("cancels" in note for note in result.notes)


@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_softmax_makes_odd_activations_trivial(activation: str) -> None:
    # x^1 is centred, so x^2, .. are m^{-1/2}: the readout's update has a mean of m^{-3/2} only, dx^{L-1}
    # stays m^{-3/2} at every step, and everything moves by m^{-1/2}.
    result = analyze(preset("ip-non-centered", 3), activation=activation)
    assert (result.regime, result.settled) == (Regime.TRIVIAL, True)
    for sizes in result.steps[1:]:
        assert (sizes.h_change, sizes.f_change) == ((-HALF,) * 3, -HALF)
    assert "cancels" in result.reason
    assert "logistic" in result.advice


def test_completion_counts_what_may_cancel() -> None:
    p = preset("ip-non-centered", 3)
    done = complete(p.a, p.b, mean=p.mean)
    assert (done.parameterization, done.maximal) == (p, False)
    assert "h^1 by m^(-1/2), h^2 by m^(-1/2) only" in done.reason
    assert complete(p.a, p.b, mean=p.mean, loss="logistic").maximal
