"""The hand-worked table, and special cases beside it. Sizes are exponents of the width."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from ipcore.theory import Parameterization, RatePhase, Regime, analyze, preset

DOCS = Path(__file__).parents[3] / "docs" / "theory.md"


def fractions(text: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(entry) for entry in text.split())


def large_rates_kept(hidden_layers: int) -> Parameterization:
    llr = preset("ip-llr", hidden_layers)
    return Parameterization(llr.a, llr.b, (RatePhase(0, llr.c_at(0)),))


# name, parameterization, e(h_0), e(f_0), changes of h and f after 1 step and after 2 steps, regime
TABLE = [
    ("NTK, L=3", preset("ntk", 3), "0 0 0", "0", "-1/2 -1/2 -1/2", "0", "-1/2 -1/2 -1/2", "0", "kernel"),
    ("muP, L=3", preset("mup", 3), "0 0 0", "-1/2", "0 0 0", "0", "0 0 0", "0", "feature_learning"),
    ("SP c=0, L=2", preset("sp", 2), "0 0", "0", "-1/2 1/2", "3/2", "1/2 3/2", "3", "unstable"),
    (
        "SP c=1, L=3",
        preset("sp-stable", 3),
        "0 0 0",
        "0",
        "-3/2 -1/2 -1/2",
        "0",
        "-3/2 -1/2 -1/2",
        "0",
        "kernel",
    ),
    ("IP, L=2", preset("ip", 2), "0 -1/2", "-1", "-1/2 0", "0", "0 0", "0", "feature_learning"),
    ("IP, L=3", preset("ip", 3), "0 -1/2 -1", "-3/2", "-1 -1/2 -1", "-1", "-1 -1/2 -1", "-1", "trivial"),
    (
        "IP, L=4",
        preset("ip", 4),
        "0 -1/2 -1 -3/2",
        "-2",
        "-3/2 -1 -3/2 -2",
        "-2",
        "-3/2 -1 -3/2 -2",
        "-2",
        "trivial",
    ),
    (
        "IP-LLR, L=4",
        preset("ip-llr", 4),
        "0 -1/2 -1 -3/2",
        "-2",
        "0 0 0 0",
        "0",
        "0 0 0 0",
        "0",
        "feature_learning",
    ),
    (
        "IP, large rates kept, L=2",
        large_rates_kept(2),
        "0 -1/2",
        "-1",
        "0 0",
        "0",
        "1/2 1/2",
        "1",
        "unstable",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_sizes_and_regime(row: tuple[str, Parameterization, str, str, str, str, str, str, str]) -> None:
    _, parameterization, h0, f0, change1, f_change1, change2, f_change2, regime = row
    result = analyze(parameterization, steps=2)
    start, first, second = result.steps
    assert (start.h, start.f) == (fractions(h0), Fraction(f0))
    assert (first.h_change, first.f_change) == (fractions(change1), Fraction(f_change1))
    assert (second.h_change, second.f_change) == (fractions(change2), Fraction(f_change2))
    assert result.regime == regime
    # Without a number of steps the verdict is the same, and final.
    unlimited = analyze(parameterization)
    assert (unlimited.regime, unlimited.settled) == (result.regime, True)


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_documentation_shows_the_same_table(row: tuple[str, ...]) -> None:
    cells = [row[0], f"{row[2]}, {row[3]}", f"{row[4]}, {row[5]}", f"{row[6]}, {row[7]}", row[8]]
    lines = [
        re.sub(r"\s*\|\s*", "|", line).strip("|").replace("`", "")
        for line in DOCS.read_text(encoding="utf-8").splitlines()
    ]
    assert "|".join(cells) in lines


def test_naive_ip_moves_layer_2_first_at_two_hidden_layers() -> None:
    result = analyze(preset("ip", 2))
    assert [(move.layer, move.step) for move in result.features] == [(1, 2), (2, 1)]
    assert "layer 2 from step 1, layer 1 from step 2" in result.summary


@pytest.mark.parametrize("hidden_layers", [3, 5, 8])
def test_naive_ip_is_trivial_from_three_hidden_layers_on(hidden_layers: int) -> None:
    result = analyze(preset("ip", hidden_layers))
    assert result.regime == Regime.TRIVIAL
    assert result.vanishing
    assert "< 0" in result.reason
    # The large first rates would change it.
    assert "at step 0, c = -1 | -2 | -1 from step 1" in result.advice


def test_adam_with_a_global_rate_of_1_over_m_moves_features_but_the_output_explodes() -> None:
    result = analyze(preset("sp-stable", 3), optimizer="adam", steps=1)
    assert result.steps[1].h_change[1:] == (Fraction(0), Fraction(0))
    assert result.steps[1].f_change == Fraction(1, 2)
    assert (result.regime, result.hidden_bounded) == (Regime.CONTROLLED_DIVERGENCE, True)
    squared = analyze(preset("sp-stable", 3), optimizer="adam", loss="mse")
    assert (squared.regime, squared.hidden_bounded) == (Regime.UNSTABLE, True)


@pytest.mark.parametrize("name", ["mup", "mup-yang-hu", "hp", "hpz", "ip-llr", "ip-bias"])
@pytest.mark.parametrize("hidden_layers", [1, 2, 5])
def test_feature_learners_move_every_layer_from_the_first_step(name: str, hidden_layers: int) -> None:
    result = analyze(preset(name, hidden_layers))
    assert result.regime == Regime.FEATURE_LEARNING
    assert [(move.layer, move.step) for move in result.features] == [(i + 1, 1) for i in range(hidden_layers)]


def test_momentum_keeps_the_verdicts_of_plain_sgd() -> None:
    for name in ("ntk", "mup", "ip", "ip-llr", "ip-bias", "sp"):
        p = preset(name, 3)
        assert analyze(p, optimizer="momentum").regime == analyze(p).regime


def test_mse_feeds_growth_back_where_cross_entropy_bounds_it() -> None:
    # SP c=0, L=1: e(f_1) = 1. Bounded derivative: dh_1^1 = max(-1/2, 0) + 0. MSE adds e(df_1) = 1 to it.
    bounded = analyze(preset("sp", 1), steps=2).steps[2]
    squared = analyze(preset("sp", 1), loss="mse", steps=2).steps[2]
    assert squared.h[0] is not None and bounded.h[0] is not None
    assert squared.h[0] > bounded.h[0]


def test_rates_that_change_late_are_seen() -> None:
    naive, llr = preset("ip", 3), preset("ip-llr", 3)
    # The same switch as IP-LLR, but only at step 1000: trivial until then, feature learning afterwards.
    late = Parameterization(
        naive.a, naive.b, (naive.phases[0], RatePhase(1000, llr.c_at(0)), RatePhase(1001, naive.c_at(0)))
    )
    result = analyze(late)
    assert result.regime == Regime.FEATURE_LEARNING
    assert {move.step for move in result.features} >= {1001}
    assert len(result.steps) < 30


def test_epsilon_decides_between_signs_and_gradients() -> None:
    # muP's (a, b) with Adam and its faithful epsilon is sign-like; an epsilon far above the gradient is SGD
    # with c - d: then c - d = -1 gives exactly muP's SGD.
    mup = preset("mup", 3)
    large = (Fraction(-10),) * 4
    as_sgd = Parameterization(
        mup.a, mup.b, (RatePhase(0, tuple(c + d for c, d in zip(mup.c_at(0), large, strict=True)), large),)
    )
    assert analyze(as_sgd, optimizer="adam").steps == analyze(mup).steps
    small = (Fraction(10),) * 4
    rates = (Fraction(0), Fraction(1, 2), Fraction(0))
    signs = Parameterization(mup.a, mup.b, (RatePhase(0, (rates[0], *[rates[1]] * 2, rates[2]), small),))
    assert analyze(signs, optimizer="adam").steps == analyze(signs, optimizer="sign").steps
    assert analyze(signs, optimizer="adam").regime == Regime.FEATURE_LEARNING
