"""Maps of phases: `analyze` at random points, corners by hand, bad input."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ipcore.theory import (
    MAX_PHASES_WORK,
    UNDECIDED,
    Parameterization,
    Phase,
    Phases,
    RatePhase,
    Regime,
    TheoryError,
    analyze,
    custom,
    diagram,
    equivalent,
    phases,
    preset,
)

F = Fraction
HALF = F(1, 2)


def places(*texts: str) -> set[tuple[Fraction, Fraction]]:
    """Points from texts such as "1/2,-1"."""
    return {(F(x), F(y)) for x, y in (text.split(",") for text in texts)}


def outlines(found: Phases, regime: str) -> list[set[tuple[Fraction, Fraction]]]:
    return [set(area.outline) for area in found.areas if area.label.regime == regime]


def lines(found: Phases, regime: str) -> list[set[tuple[Fraction, Fraction]]]:
    """Segments on which a regime holds that no side has."""
    own = [b for b in found.borders if b.label.regime == regime and b.label not in b.sides]
    return [{border.start, border.end} for border in own]


def owner(found: Phases, start: str, end: str) -> str:
    (border,) = [b for b in found.borders if {b.start, b.end} == places(start, end)]
    return str(border.label.regime)


# Corners by hand: V, S, k, rho and the rule of pairs as in docs/theory.md.


def test_sp_with_a_global_rate_by_loss_and_optimizer() -> None:
    """The table of controlled divergence (L >= 2): SGD 1/2 <= c < 1, Adam 1 <= c < 3/2; muP none."""
    free: dict[str, Any] = {"b_last": ("1/4", "1"), "c": ("0", "2")}
    # (s_4 = b_4; gauge a = 0): f_0 <= 0 iff b_4 >= 1/2.
    sgd = phases(preset("sp", 3), free)
    for c, regime in (("0", "unstable"), ("3/8", "unstable"), ("1/2", "controlled_divergence"),
                      ("7/8", "controlled_divergence"), ("1", "kernel"), ("9/8", "trivial")):  # fmt: skip
        assert sgd.at(HALF, c).regime == regime
    adam = phases(custom(3, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["0"] * 3), free, optimizer="sign")
    for c, regime in (("7/8", "unstable"), ("1", "controlled_divergence"), ("11/8", "controlled_divergence"),
                      ("3/2", "operator"), ("13/8", "trivial")):  # fmt: skip
        assert adam.at(HALF, c).regime == regime
    mse = phases(preset("sp", 3), free, loss="mse")
    assert not any(area.label.regime == "controlled_divergence" for area in mse.areas)
    assert mse.at(HALF, 1).regime == "kernel"


def test_the_plane_of_the_initial_readout_and_one_rate() -> None:
    """With x = b_4, y = c: s_4 = 1 + x, V = (0, 0, 0, -s_4), S = -s_4, k = (-y, -y, -y, -y - 2).

    rho = -1 - x - y for l <= 3 and x - y - 1 for the readout. Hidden layers stay bounded iff pairs have sums
    <= 0: x + y >= -1 and y >= -1. f starts at 1/2 - s_4 <= 0 iff x >= -1/2; the readout's update moves it by
    -1 - y, what hidden layers learn by 1 - s_4 + (-y - s_4) = -1 - 2x - y. Hidden layers move by -y - s_4 = 0
    where x + y = -1, at (0, -1), and on y = -1 after the readout has learned.
    """
    found = phases(preset("mup", 3), {"b_last": ("-1", "1"), "c": ("-2", "1")})
    assert outlines(found, "trivial") == [places("-1/2,0", "0,-1", "1,-1", "1,1", "-1/2,1")]
    assert outlines(found, "controlled_divergence") == [places("-1,0", "0,-1", "-1/2,0", "-1/2,1", "-1,1")]
    assert outlines(found, "unstable") == [places("-1,-2", "1,-2", "1,-1", "0,-1", "-1,0")]
    # As UP_s but for the rate of the readout.
    assert lines(found, "kernel") == [places("-1/2,0", "0,-1")]
    assert lines(found, "feature_learning") == [places("0,-1", "1,-1")]
    assert found.at(0, -1).layers == (1, 2, 3)
    assert found.at("-1/2", 0).regime == "kernel"
    assert owner(found, "-1,0", "0,-1") == "controlled_divergence"
    assert owner(found, "-1/2,0", "-1/2,1") == "trivial"
    assert {(m.name, m.at) for m in found.presets} == {
        ("mup", (F(0), F(-1))),
        ("mup-yang-hu", (F(0), F(-1))),
    }


def test_the_line_from_mup_to_ntk() -> None:
    """With x = a_4, y = c: V = (0, 0, 0, -x), k = (-y, -y, -y, -y - 2x), rho = -x - y everywhere.

    f starts at 1/2 - x and moves by 1 - 2x - y.
    """
    found = phases(preset("mup", 3), {"a_last": ("0", "3/2"), "c": ("-2", "1")})
    assert outlines(found, "unstable") == [places("0,-2", "3/2,-2", "3/2,-3/2", "0,0")]
    assert outlines(found, "trivial") == [places("1/2,0", "1,-1", "3/2,-3/2", "3/2,1", "1/2,1")]
    assert outlines(found, "controlled_divergence") == [places("0,0", "1,-1", "1/2,0", "1/2,1", "0,1")]
    assert lines(found, "kernel") == [places("1/2,0", "1,-1")]
    assert lines(found, "feature_learning") == []
    assert found.at(1, -1) == Phase(Regime.FEATURE_LEARNING, (1, 2, 3))
    # On the border to what is unstable features move, while f grows.
    assert found.at(HALF, -HALF) == Phase(Regime.CONTROLLED_DIVERGENCE, (1, 2, 3))
    assert owner(found, "1,-1", "3/2,-3/2") == "trivial"
    assert {m.name: m.at for m in found.presets} == {
        "mup": (F(1), F(-1)),
        "mup-yang-hu": (F(1), F(-1)),
        "ntk": (HALF, F(0)),
        "up:1/4": (F(3, 4), -HALF),
    }
    for s in ("1/8", "1/4", "3/8"):
        assert equivalent(found.parameterization_at(1 - F(s), 2 * F(s) - 1), preset(f"up:{s}", 3))
        assert found.at(1 - F(s), 2 * F(s) - 1).regime == "kernel"


@pytest.mark.parametrize(("depth", "learns"), [(2, True), (3, False)])
def test_integrable_rates(depth: int, learns: bool) -> None:
    """Hidden and last rates of IP. It is a corner of what is stable at L = 2 only.

    L = 2: V = (0, -1/2, -1), S = -3/2, k = (1, -c_2 - 1, -c_3 - 2), and
    rho = (-1/2, -c_2 - 3/2, -c_3 - 3/2).
    Bounded iff c_2 >= -2, c_3 >= -2 (pairs with layer 1) and c_2 + c_3 >= -3, where f still does not move.
    """
    found = phases(preset("ip", depth), {"c_hidden": ("-4", "1"), "c_last": ("-4", "1")})
    if learns:
        assert outlines(found, "trivial") == [places("-2,1", "-2,-1", "-1,-2", "1,-2", "1,1")]
        assert sorted(map(sorted, lines(found, "feature_learning"))) == [
            sorted(places("-2,-1", "-2,1")),
            sorted(places("-1,-2", "1,-2")),
        ]
        assert owner(found, "-2,-1", "-1,-2") == "trivial"
    assert found.at(-2, -1).regime == ("feature_learning" if learns else "trivial")
    assert [m.name for m in found.presets] == ["ip"]


def test_first_rates_of_ip_llr_are_a_corner() -> None:
    found = phases(preset("ip", 3), {"c_first_step": ("-4", "0"), "c_last": ("-3", "1")})
    assert len(found.parameterization.phases) == 2  # the rates of step 0 became free
    llr = phases(preset("ip-llr", 3), {"c_first_step_hidden": ("-4", "1"), "c_first_step_last": ("-4", "1")})
    assert outlines(llr, "trivial") == [places("-5/2,-2", "1,-2", "1,1", "-5/2,1")]
    assert lines(llr, "feature_learning") == [places("-5/2,-2", "-5/2,1")]
    assert [(m.name, m.at, str(m.phase.regime)) for m in llr.presets] == [
        ("ip-llr", (F(-5, 2), F(-2)), "feature_learning")
    ]


# `analyze` says the same everywhere.

eighths = st.integers(-16, 16).map(lambda k: F(k, 8))
NAMES = (
    *("a_first", "a_2", "a_last", "a_hidden", "a", "b_first", "b_last", "b_hidden", "b"),
    *("c_1", "c_first", "c_last", "c_hidden", "c", "c_first_step", "c_first_step_last"),
    *("d", "d_hidden", "d_first_step"),
)


@st.composite
def planes(draw: st.DrawFn) -> tuple[Parameterization, dict[str, Any], dict[str, str]]:
    depth = draw(st.integers(1, 4))
    optimizer = draw(st.sampled_from(["sgd", "sgd", "momentum", "adam", "sign"]))
    name = draw(st.sampled_from(["sp", "ntk", "mup", "ip", "mup-yang-hu"]))
    p = preset(name, depth, optimizer=optimizer)
    if draw(st.booleans()):
        jitter = draw(st.lists(eighths.map(lambda e: e / 4), min_size=depth + 1, max_size=depth + 1))
        moved = tuple(c + j for c, j in zip(p.phases[0].c, jitter, strict=True))
        p = Parameterization(p.a, p.b, (RatePhase(0, moved, p.phases[0].d), *p.phases[1:]))
    x, y = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True))
    ranges = []
    for _ in range(2):
        low = draw(eighths)
        ranges.append((low, low + draw(st.integers(1, 16)) * F(1, 4)))
    setting = {
        "optimizer": optimizer,
        "activation": draw(st.sampled_from(["relu", "relu", "sigmoid", "relu^2"])),
        "loss": draw(st.sampled_from(["cross_entropy", "mse"])),
    }
    return p, {x: ranges[0], y: ranges[1]}, setting


def probe(found: Phases, x: Fraction, y: Fraction, setting: dict[str, str]) -> None:
    phase = found.at(x, y)
    if phase == UNDECIDED:
        return
    there = analyze(found.parameterization_at(x, y), **setting)
    assert phase.regime == there.regime, (x, y)
    if there.regime in (Regime.FEATURE_LEARNING, Regime.CONTROLLED_DIVERGENCE):
        assert phase.layers == tuple(move.layer for move in there.features), (x, y)


@settings(max_examples=15, deadline=None)
@given(
    planes(), st.lists(st.tuples(st.integers(0, 64), st.integers(0, 64)), min_size=5, max_size=5), st.data()
)
def test_analyze_says_the_same_inside_on_borders_and_at_corners(
    plane: Any, shares: list[tuple[int, int]], data: st.DataObject
) -> None:
    p, free, setting = plane
    try:
        found = phases(p, free, **setting, work=MAX_PHASES_WORK // 10)
    except TheoryError:
        assume(False)
    x, y = found.free
    for i, j in shares:
        probe(found, x.low + (x.high - x.low) * i / 64, y.low + (y.high - y.low) * j / 64, setting)
    if found.borders:
        for _ in range(5):
            border = data.draw(st.sampled_from(found.borders))
            share = F(data.draw(st.integers(0, 16)), 16)
            at = [s + share * (e - s) for s, e in zip(border.start, border.end, strict=True)]
            probe(found, at[0], at[1], setting)
    for corner in found.corners[:4]:
        probe(found, *corner.at, setting)


def test_epsilon_is_an_exponent_too() -> None:
    """muP with Adam: too large an epsilon (small d) makes it gradient descent with c - d."""
    found = phases(preset("mup", 2, optimizer="adam"), {"d": ("0", "2"), "c": ("-1", "2")}, optimizer="adam")
    setting = {"optimizer": "adam", "activation": "relu", "loss": "cross_entropy"}
    for border in found.borders:
        middle = [(s + e) / 2 for s, e in zip(border.start, border.end, strict=True)]
        probe(found, middle[0], middle[1], setting)
    for n in range(8):
        probe(found, F(n, 4), F(3 * n % 13, 4) - 1, setting)
    assert [m.name for m in phases(
        preset("mup", 2, optimizer="adam"), {"d_first": ("0", "2"), "c_last": ("-1", "2")}, optimizer="adam"
    ).presets] == ["mup", "mup-yang-hu"]  # fmt: skip


def test_linear_activations_have_areas_to_measure() -> None:
    found = phases(
        preset("ip-llr", 2), {"c_last": ("-2", "0"), "c_hidden": ("-5/2", "-1")}, activation="gelu"
    )
    regimes = {str(area.label.regime) for area in found.areas}
    assert "unstable" in regimes
    setting = {"optimizer": "sgd", "activation": "gelu", "loss": "cross_entropy"}
    for border in found.borders:
        middle = [(s + e) / 2 for s, e in zip(border.start, border.end, strict=True)]
        probe(found, middle[0], middle[1], setting)
    for area in found.areas:
        probe(found, *area.outline[0], setting)


# Output and bad input.


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagram, "MAX_PHASES_WORK", 20_000)
    free: dict[str, Any] = {"c_first_step_hidden": (-4, 1), "c_last": (-4, 1)}
    found = phases(preset("ip", 3), free, activation="gelu")
    assert UNDECIDED in {area.label for area in found.areas}
    assert "not decided\n    area" in str(found)
    assert "note: some of this map is not decided" in str(found)
    assert None in {area["regime"] for area in found.to_dict()["areas"]}
    setting = {"optimizer": "sgd", "activation": "gelu", "loss": "cross_entropy"}
    decided = [area.outline[0] for area in found.areas if found.at(*area.outline[0]) != UNDECIDED]
    assert decided
    for at in decided[:20]:
        probe(found, *at, setting)
    whole = phases(preset("mup", 3), {"b_last": (-1, 1), "c": (-2, 1)})
    assert whole.areas
    assert not whole.notes


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize("free", [("a", "b"), ("a_first", "a_last"), ("b", "c")])
def test_maps_with_alignment_in_doubt_are_decided(activation: str, free: tuple[str, str]) -> None:
    """The lower bound grows slowly there: random sums alone feed themselves, which no step needs to show."""
    ranges: dict[str, Any] = dict.fromkeys(free, (-2, 2))
    found = phases(preset("mup", 3), ranges, activation=activation, work=MAX_PHASES_WORK // 10)
    assert not found.notes
    setting = {"optimizer": "sgd", "activation": activation, "loss": "cross_entropy"}
    for border in found.borders:
        probe(found, *[(s + e) / 2 for s, e in zip(border.start, border.end, strict=True)], setting)
    for area in found.areas:
        probe(found, *area.outline[0], setting)


def test_text_and_json_say_what_belongs_where() -> None:
    found = phases(preset("mup", 3), {"b_last": ("-1", "1"), "c": ("-2", "1")})
    text = str(found)
    assert "line (-1/2, 0) to (0, -1), without (0, -1)" in text
    assert "feature learning (layers 1..3)\n    line (0, -1) to (1, -1)\n" in text
    assert "mup (0, -1): feature learning (layers 1..3)" in text
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["free"] == [
        {"name": "b_last", "low": "-1", "high": "1"},
        {"name": "c", "low": "-2", "high": "1"},
    ]
    assert {"name": "mup", "at": ["0", "-1"], "regime": "feature_learning", "layers": [1, 2, 3]} in plain[
        "presets"
    ]
    with pytest.raises(TheoryError, match="outside"):
        found.at(2, 0)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "2 free exponents, not 0"),
    ({"c": ("0", "1")}, "2 free exponents, not 1"),
    ({"a_1": ("0", "1"), "b_1": ("0", "1"), "c_1": ("0", "1")}, "2 free exponents, not 3"),
    ({"c": ("0", "1"), "c_2": ("0", "1")}, "partly the same"),
    ({"a_4": ("0", "1"), "a_last": ("0", "1")}, "partly the same"),
    ({"e_1": ("0", "1"), "c": ("0", "1")}, "unknown free exponent 'e_1'"),
    ({"c_5": ("0", "1"), "a_1": ("0", "1")}, "matrices 1 .. 4"),
    ({"c_0": ("0", "1"), "a_1": ("0", "1")}, "unknown free exponent 'c_0'"),
    ({"a_first_step": ("0", "1"), "c": ("0", "1")}, "does not depend on the step"),
    ({"d_1": ("0", "1"), "c": ("0", "1")}, "no effect"),
    ({"c": ("1", "1"), "a_1": ("0", "1")}, "range from 1 to 1 is empty"),
    ({"c": ("1", "0"), "a_1": ("0", "1")}, "smaller value comes first"),
    ({"c": (0.5, "1"), "a_1": ("0", "1")}, "float"),
    ({"c": ("0", float("inf")), "a_1": ("0", "1")}, "float"),
    ({"c": ("0", "inf"), "a_1": ("0", "1")}, "not an exponent"),
    ({"c": ("0", "9" * 10_000), "a_1": ("0", "1")}, "not an exponent"),
    ({"c": (0, 10**10_000), "a_1": ("0", "1")}, "digits"),
    ({"c": ("0",), "a_1": ("0", "1")}, "smallest and its largest"),
    ({"c": "01", "a_1": ("0", "1")}, "smallest and its largest"),
    ({3: ("0", "1"), "a_1": ("0", "1")}, "unknown free exponent 3"),
]  # type: ignore[list-item]


@pytest.mark.parametrize(("free", "message"), WRONG)
def test_bad_input(free: dict[str, Any], message: str) -> None:
    with pytest.raises(TheoryError) as error:
        phases(preset("mup", 3), free)
    assert message in str(error.value)
    assert len(str(error.value)) < 400
    assert error.value.field.startswith("free")


def test_all_that_is_wrong_is_named() -> None:
    with pytest.raises(TheoryError) as error:
        phases(preset("mup", 3), {"e": ("0", "1"), "c": ("1", "0")})
    assert [field for field, _ in error.value.problems] == ["free", "free[c]"]
    with pytest.raises(TheoryError, match="at most 20 hidden layers"):
        phases(preset("mup", 21), {"c": ("0", "1"), "a_1": ("0", "1")})
    with pytest.raises(TheoryError, match="hidden ones are none"):
        phases(preset("mup", 1), {"c_hidden": ("0", "1"), "a_1": ("0", "1")})
    with pytest.raises(TheoryError, match="whole degrees, not 'relu\\^3/2'"):
        phases(preset("mup", 2), {"c": ("0", "1"), "a_1": ("0", "1")}, activation="relu^3/2")
    with pytest.raises(TheoryError, match="would not follow"):
        phases(preset("ip-non-centered", 3), {"b_last": (0, 1), "c": (-2, 0)})
