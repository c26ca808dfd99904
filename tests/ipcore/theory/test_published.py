"""Claims of papers about their parameterizations, and `analyze`; docs/theory.md has the same table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest

from ipcore.theory import (
    TABLES,
    Parameterization,
    RatePhase,
    Regime,
    TheoryError,
    analyze,
    complete,
    custom,
    equivalent,
    preset,
    published,
)

DOCS = Path(__file__).parents[3] / "docs" / "theory.md"
HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Claim:
    """One row: a paper's claim about a parameterization, and our regime."""

    paper: str
    name: str
    build: Callable[[int], Parameterization]
    says: str
    ours: str
    optimizer: str = "sgd"
    loss: str = "cross_entropy"
    depths: tuple[int, ...] = (2, 3, 5)


def table(name: str, optimizer: str = "sgd") -> Callable[[int], Parameterization]:
    return lambda L: published(name, L, optimizer)


def named(name: str, optimizer: str = "sgd") -> Callable[[int], Parameterization]:
    return lambda L: preset(name, L, optimizer=optimizer)


def sp(c: str) -> Callable[[int], Parameterization]:
    return lambda L: custom(L, a=["0"] * 3, b=["0", "1/2", "1/2"], c=[c] * 3)


def yaida(s: Fraction) -> Callable[[int], Parameterization]:
    """His s in [0, 1]: readout of size m^{-(1+s)/2} with weights of order 1, one rate m^s."""
    return lambda L: custom(L, a=["0", "1/2", (1 + s) / 2], b=["0"] * 3, c=[-s] * 3)


def slower(build: Callable[[int], Parameterization], by: Fraction) -> Callable[[int], Parameterization]:
    """Base rate m^{-by} times as large."""

    def slowed(L: int) -> Parameterization:
        p = build(L)
        return replace(p, phases=tuple(replace(x, c=tuple(c + by for c in x.c)) for x in p.phases))

    return slowed


CLAIMS = [
    Claim("TP4, table 1", "SP, c = 0", table("tp4-sp"), "unstable", "unstable"),
    Claim("TP4, table 1", "SP, c = 1", table("tp4-sp-1/m"), "kernel", "kernel"),
    Claim("TP4, table 1", "NTK", table("tp4-ntk"), "kernel", "kernel"),
    Claim("TP4, table 1", "muP", table("tp4-mup"), "feature learning", "feature_learning"),
    Claim("TP4, table 1", "MFP, L = 1", named("mfp"), "feature learning", "feature_learning", depths=(1,)),
    Claim(
        "TP4b", "muP, Adam", named("mup", "adam"), "feature learning", "feature_learning", optimizer="adam"
    ),
    Claim("TP4b", "NTK, Adam", named("ntk", "adam"), "operator", "operator", optimizer="adam"),
    Claim("TP5, tables 3, 8", "muP, SGD", table("tp5-table-8"), "feature learning", "feature_learning"),
    Claim(
        *("TP5, tables 3, 8", "muP, Adam", table("tp5-table-8", "adam"), "feature learning"),
        *("feature_learning", "adam"),
    ),
    Claim("spectral condition", "its SGD rates", table("spectral"), "feature learning", "feature_learning"),
    Claim("Yaida", "s = 0 (NTK)", yaida(Fraction(0)), "no feature learning at fixed L", "kernel"),
    Claim("Yaida", "s = 1/2", yaida(HALF), "no feature learning at fixed L", "kernel"),
    Claim("Yaida", "s = 1 (muP)", yaida(Fraction(1)), "feature learning", "feature_learning"),
    Claim(
        *("Everett et al.", "SP, Adam, full alignment", table("everett-standard", "adam"), "stable"),
        *("controlled_divergence", "adam"),
    ),
    Claim(
        *("Everett et al.", "NTK, Adam, full alignment", table("everett-ntk", "adam"), "stable"),
        *("controlled_divergence", "adam"),
    ),
    Claim(
        *("Everett et al.", "muP, Adam, full alignment", table("everett-mup", "adam"), "stable"),
        *("feature_learning", "adam"),
    ),
    Claim(
        *("Everett et al.", "MFP, Adam, full alignment", table("everett-mfp", "adam"), "stable"),
        *("feature_learning", "adam"),
    ),
    Claim(
        "Everett et al.",
        "SP, SGD, full alignment",
        table("everett-standard"),
        "stable",
        "controlled_divergence",
    ),
    Claim("Haas et al.", "SP, SGD, c = 1", sp("1"), "kernel", "kernel"),
    Claim(
        "Haas et al.", "SP, SGD, c = 1/2", table("haas-sp"), "controlled divergence", "controlled_divergence"
    ),
    Claim("Haas et al.", "SP, SGD, c < 1/2", sp("3/8"), "catastrophic", "unstable"),
    Claim("Haas et al.", "SP, SGD, c = 1/2, MSE", table("haas-sp"), "unstable", "unstable", loss="mse"),
    Claim(
        *("Haas et al.", "SP, Adam, c = 1", table("haas-sp", "adam"), "controlled divergence"),
        *("controlled_divergence", "adam"),
    ),
    Claim("Hajjar et al.", "IP, L >= 3", named("ip"), "stationary", "trivial", depths=(3, 4, 6)),
    Claim("Hajjar et al.", "IP-LLR", named("ip-llr"), "feature learning", "feature_learning"),
]
WORDS = {
    "feature_learning": "feature learning",
    "controlled_divergence": "controlled divergence",
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.paper}: {claim.name}")
def test_verdicts_of_papers(claim: Claim) -> None:
    for L in claim.depths:
        found = analyze(claim.build(L), optimizer=claim.optimizer, loss=claim.loss)
        assert found.regime == claim.ours
        assert found.settled
        if claim.says == "feature learning":  # all of them claim it for every hidden layer
            assert [move.layer for move in found.features] == list(range(1, L + 1))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.paper}: {claim.name}")
def test_documentation_shows_the_same_claims(claim: Claim) -> None:
    row = f"| {claim.paper} | {claim.name} | {claim.says} | {WORDS.get(claim.ours, claim.ours)} |"
    assert row in DOCS.read_text(encoding="utf-8")


# Papers that describe one parameterization twice, in different gauges.
@pytest.mark.parametrize(
    ("one", "other", "optimizer"),
    [
        ("tp4-mup", "tp5-table-3", "sgd"),
        ("tp4-mup", "tp5-table-8", "sgd"),
        ("tp4-mup", "spectral", "sgd"),
        ("tp4-mup", "everett-mup", "sgd"),
        ("tp4-mup", "everett-mfp", "sgd"),
        ("tp5-table-3", "everett-mup", "adam"),
        ("everett-mup", "everett-mfp", "adam"),
        ("everett-standard", "everett-ntk", "sgd"),
        ("everett-standard", "everett-ntk", "adam"),
    ],
)
def test_tables_that_describe_the_same(one: str, other: str, optimizer: str) -> None:
    for L in (1, 2, 4):
        assert equivalent(published(one, L, optimizer), published(other, L, optimizer), optimizer)


def test_yaidas_family_is_ours_with_another_parameter() -> None:
    for n in range(9):
        s = Fraction(n, 8)
        p = yaida(s)(4)
        assert equivalent(p, preset(f"up:{(1 - s) / 2}", 4))
        # His representation-learning scale is L / n^{1-s}: the square of how much features move.
        moves = analyze(p).steps[1].h_change
        assert {2 * (move or 0) for move in moves} == {s - 1}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_rates_of_full_alignment_are_stable_only_if_the_readout_is_not_aligned(optimizer: str) -> None:
    """Everett et al. let hidden layers move by 1 and f by W_0^{L+1} Delta x = m^{1/2 - s}, we by m^{1 - s}.

    With s = 1/2 (SP, NTK) f then grows like m^{1/2}: a base rate smaller by m^{-1/2} is stable; muP and MFP
    (s = 1) are at their largest stable rates in either way.
    """
    for name in ("everett-standard", "everett-ntk"):
        at = analyze(published(name, 3, optimizer), optimizer=optimizer)
        assert at.steps[-1].f == HALF
        assert at.hidden_bounded
        below = analyze(slower(table(name, optimizer), HALF)(3), optimizer=optimizer)
        assert below.regime in (Regime.KERNEL, Regime.OPERATOR)
    for name in ("everett-mup", "everett-mfp"):
        p = published(name, 3, optimizer)
        assert equivalent(p, replace(complete(p.a, p.b, optimizer=optimizer).parameterization,
                                     phases=(RatePhase(0, p.phases[0].c),)), optimizer)  # fmt: skip
        faster = analyze(slower(table(name, optimizer), -Fraction(1, 8))(3), optimizer=optimizer)
        assert faster.regime == Regime.UNSTABLE


def test_presets_of_standard_initialization_with_large_rates() -> None:
    for L in (2, 4):
        large = analyze(preset("sp-large", L))
        assert (large.regime, [m.layer for m in large.features]) == (
            Regime.CONTROLLED_DIVERGENCE,
            list(range(2, L + 1)),
        )
        for optimizer in ("sgd", "adam"):
            p = preset("sp-per-layer", L, optimizer=optimizer)
            found = analyze(p, optimizer=optimizer)
            assert found.regime == Regime.CONTROLLED_DIVERGENCE
            assert len(found.features) == L
            assert p.phases[0].c == published("everett-standard", L, optimizer).phases[0].c
        assert preset("sp-large", L).phases[0].c == published("haas-sp", L).phases[0].c


# Variants of IP-LLR in the code of Hajjar et al., as phases.


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
@pytest.mark.parametrize("steps", [2, 3, 10])
def test_large_first_rates_for_several_steps_are_unstable(activation: str, steps: int) -> None:
    for L in (2, 3, 5):
        llr = preset("ip-llr", L)
        longer = replace(llr, phases=(llr.phases[0], replace(llr.phases[1], start=steps)))
        found = analyze(longer, activation=activation)
        assert found.regime == Regime.UNSTABLE
        # Gradients are of order 1/m after the first step, and the rate of layer 1 is m^{(L+1)/2}.
        if activation == "relu":
            assert found.steps[2].h_change[0] == Fraction(L + 1, 2) - 1


def test_a_second_step_that_is_renormalized_has_the_rates_of_ip() -> None:
    # Rates for which the second update moves every layer by order 1, as completion finds for step 1.
    for L in (2, 3, 5):
        ip = preset("ip", L)
        done = complete(ip.a, ip.b).parameterization
        assert done.phases == preset("ip-llr", L).phases
        assert done.phases[1].c == ip.phases[0].c


def test_a_calibrated_first_step_is_unstable_in_the_second_where_activations_are_linear() -> None:
    for L in (3, 4):
        llr = preset("ip-llr", L)
        for activation, regime in (("relu", "feature_learning"), ("gelu", "unstable"), ("tanh", "unstable")):
            deficits = {a.layer: a.deficit for a in analyze(llr, activation=activation).alignment}
            # Calibration divides by |Delta W x|, which is smaller than aligned by the deficit.
            c = tuple(c - deficits.get(i + 1, Fraction(0)) for i, c in enumerate(llr.c_at(0)))
            calibrated = replace(llr, phases=(RatePhase(0, c), llr.phases[1]))
            assert analyze(calibrated, activation=activation).regime == regime


def test_tables_without_rates_say_so() -> None:
    assert set(TABLES) >= {"spectral", "haas-sp", "everett-standard"}
    with pytest.raises(TheoryError, match="no rates for 'adam'"):
        published("spectral", 3, "adam")
