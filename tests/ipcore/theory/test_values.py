"""A parameterization is a value: construction, refusals, comparison, serialization and printing."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipcore.theory import (
    PRESETS,
    Biases,
    Parameterization,
    RatePhase,
    Reweighting,
    TheoryError,
    complete,
    custom,
    decimal_note,
    equivalent,
    find_preset,
    preset,
    presets_at,
)

exponents = st.builds(Fraction, st.integers(-108, 108), st.integers(1, 12))
rows = st.tuples(exponents, exponents, exponents)
optional_rows = st.tuples(*[st.none() | exponents] * 3)


@st.composite
def phases(draw: st.DrawFn) -> tuple[RatePhase, ...]:
    starts = sorted({0, *draw(st.lists(st.integers(1, 50), max_size=3))})
    return tuple(RatePhase(start, draw(rows), draw(st.none() | rows)) for start in starts)


@st.composite
def parameterizations(draw: st.DrawFn) -> Parameterization:
    biases = Biases(draw(rows), draw(rows), draw(phases())) if draw(st.booleans()) else None
    starts = sorted(set(draw(st.lists(st.integers(1, 50), max_size=2))))
    reweightings = tuple(Reweighting(start, draw(optional_rows)) for start in starts)
    return Parameterization(
        draw(rows), draw(rows), draw(phases()), biases, draw(st.none() | optional_rows), reweightings
    )


@given(parameterizations())
def test_serialization_is_exact(p: Parameterization) -> None:
    again = Parameterization.from_dict(json.loads(json.dumps(p.to_dict())))
    assert again == p
    assert hash(again) == hash(p)
    assert pickle.loads(pickle.dumps(p)) == p


def test_table_is_compact_where_hidden_layers_agree() -> None:
    assert str(preset("ip-llr", 6)).splitlines() == [
        "                | first | hidden | last",
        "a               |     0 |      1 |    1",
        "b               |     0 |      0 |    0",
        "c (step 0)      |  -7/2 |     -4 | -7/2",
        "c (from step 1) |    -1 |     -2 |   -1",
    ]
    assert "first | last" in str(preset("mfp", 1))


def test_table_has_a_line_per_layer_where_they_differ() -> None:
    lines = str(preset("ip-bias", 3)).splitlines()
    assert len(lines) == 1 + 4
    assert lines[0].startswith("layer | a | b | c (step 0)")
    # c_l = -(L-l+4)/2: -5/2 at l = 2, -2 at l = 3.
    assert [line.split("|")[3].strip() for line in lines[1:]] == ["-2", "-5/2", "-2", "-1"]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("hidden_layers", [1, 2, 3, 7])
def test_presets_exist_at_every_depth_they_are_defined_for(name: str, hidden_layers: int) -> None:
    if name not in presets_at(hidden_layers):
        with pytest.raises(TheoryError, match="1 hidden layer"):
            preset(name, hidden_layers)
        return
    p = preset(name, hidden_layers)
    assert p.hidden_layers == hidden_layers
    assert p == presets_at(hidden_layers)[name]


def test_up_runs_from_mup_to_ntk() -> None:
    assert preset("up:0", 3) == preset("mup", 3)
    assert preset("up:1/2", 3) == preset("ntk", 3)
    assert preset("up:0.25", 3) == preset("up:1/4", 3)
    for wrong in ("up", "up:", "up:1", "up:-1/4", "up:x"):
        with pytest.raises(TheoryError) as error:
            find_preset(wrong)
        assert error.value.field == "preset"


@pytest.mark.parametrize("name", ["mup", "mup-yang-hu", "ntk", "ip"])
@pytest.mark.parametrize("hidden_layers", [1, 2, 3, 6])
def test_exponents_for_adam_are_those_of_completion(name: str, hidden_layers: int) -> None:
    p = preset(name, hidden_layers, optimizer="adam")
    assert complete(p.a, p.b, optimizer="adam").parameterization == p
    assert preset(name, hidden_layers, optimizer="adamw") == p
    sgd = preset(name, hidden_layers)
    assert (p.a, p.b) == (sgd.a, sgd.b)


def test_exponents_for_adam_by_hand() -> None:
    """The closed form of Yang & Littwin: muP r = 0, NTK r = 1/2; mfp is muP at L = 1; sp as frameworks do."""
    mup, ntk = preset("mup", 2, optimizer="adam"), preset("ntk", 2, optimizer="adam")
    half = Fraction(1, 2)
    assert mup.phases == (RatePhase(0, (0, half, 0), (1, 1 + half, 1)),)
    assert ntk.phases == (RatePhase(0, (half, 1, half), (half, 1, half)),)
    assert preset("mfp", 1, optimizer="adam") == preset("mup", 1, optimizer="adam")
    sp = preset("sp", 2, optimizer="adam")
    assert sp.phases == (RatePhase(0, (0, 0, 0), (0, 0, 0)),)
    assert equivalent(mup, preset("mup-yang-hu", 2, optimizer="adam"), "adam")


def test_momentum_has_the_exponents_of_gradient_descent() -> None:
    assert presets_at(3, optimizer="momentum") == presets_at(3)


def test_presets_made_for_gradient_descent_are_refused_with_adam_and_say_what_to_use() -> None:
    standard = ["sp", "sp-large", "sp-per-layer"]
    assert list(presets_at(1, optimizer="adam")) == [*standard, "ntk", "mup", "mup-yang-hu", "mfp", "ip"]
    for name in ("sp-stable", "ip-llr", "ip-bias", "ip-non-centered", "hp", "hpz", "up:1/4", "up:1/3"):
        with pytest.raises(TheoryError, match=f"'{name}' is not defined for adamw: .* use "):
            preset(name, 3, optimizer="adamw")
    with pytest.raises(TheoryError, match="unknown optimizer 'adma'; did you mean 'adam'"):
        preset("mup", 3, optimizer="adma")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"a": ["0", "1"]}, "a"),
        ({"b": ["0", "1/0", "0"]}, "b[1]"),
        ({"c": ["0", "abc", "0"]}, "c[1]"),
        ({"c_first_step": ["0"]}, "c_first_step"),
        ({"d": ["0"] * 9}, "d"),
        ({"a": [0, 0.5, 1]}, "a[1]"),
        ({"hidden_layers": 0}, "hidden_layers"),
        ({"hidden_layers": 10_001}, "hidden_layers"),
    ],
)
def test_wrong_exponents_are_named(change: dict[str, object], field: str) -> None:
    given_ = {"hidden_layers": 3, "a": ["0", "1", "1"], "b": ["0"] * 3, "c": ["-1", "-2", "-1"]}
    with pytest.raises(TheoryError) as error:
        custom(**{**given_, **change})  # type: ignore[arg-type]
    assert error.value.field == field


def test_decimals_are_exact_and_said_so() -> None:
    p = custom(1, a=["0.333", "0.5"], b=["0", "0"], c=["0", "0"])
    assert p.a == (Fraction(333, 1000), Fraction(1, 2))
    assert decimal_note("0.333") == "'0.333' is taken as exactly 333/1000; write '1/3' if that is meant"
    assert decimal_note("0.5") is None and decimal_note("1/3") is None


def test_epsilon_exponents_may_differ_in_the_first_step() -> None:
    lists = {"a": [0, 0], "b": [0, 0], "c": [1, 1], "d": [0, 1], "d_first_step": [2, 3]}
    first, later = custom(1, **lists).phases
    assert (first.c, first.d, later.c, later.d) == ((1, 1), (2, 3), (1, 1), (0, 1))
    with pytest.raises(TheoryError, match="needs d") as error:
        custom(1, a=[0, 0], b=[0, 0], c=[1, 1], d_first_step=[2, 3])
    assert error.value.field == "d_first_step"


def test_values_that_cannot_be_are_refused() -> None:
    zeros = (Fraction(0),) * 3
    steady = (RatePhase(0, zeros),)
    with pytest.raises(TheoryError, match="a has 3"):
        Parameterization(zeros, zeros[:2], steady)
    with pytest.raises(TheoryError, match="ascend"):
        Parameterization(zeros, zeros, (RatePhase(1, zeros),))
    with pytest.raises(TheoryError, match="a step from 1 to"):
        Parameterization(zeros, zeros, steady, reweightings=(Reweighting(0, zeros),))
    with pytest.raises(TheoryError) as error:
        Parameterization(zeros, zeros, steady, mean=(None,))
    assert error.value.field == "mean"
    with pytest.raises(TheoryError, match="did you mean 'biases'"):
        Parameterization.from_dict({**Parameterization(zeros, zeros, steady).to_dict(), "biasses": None})


def test_unknown_presets_get_the_nearest_name() -> None:
    with pytest.raises(TheoryError, match="did you mean 'ip-llr'") as error:
        preset("ip-lr", 3)
    assert error.value.field == "preset"
