"""Gauge algebra: shifts compose, keep the network, and connect the published tables."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory import (
    PRESETS,
    TABLES,
    Parameterization,
    RatePhase,
    TheoryError,
    analyze,
    canonical,
    custom,
    equivalent,
    gauge_of,
    in_gauge_of,
    preset,
    presets_at,
    published,
    shift,
)

exponents = st.builds(Fraction, st.integers(-9, 9), st.sampled_from([1, 2, 3]))
rows = st.tuples(exponents, exponents, exponents, exponents)
optimizers = st.sampled_from(["sgd", "momentum", "adam", "sign"])


@st.composite
def parameterizations(draw: st.DrawFn) -> Parameterization:
    d = draw(st.none() | rows)
    first, later = draw(rows), draw(rows)
    phases = (RatePhase(0, first, d), RatePhase(draw(st.integers(1, 3)), later, d))
    return Parameterization(draw(rows), draw(rows), phases)


@given(parameterizations(), rows, rows, optimizers)
def test_shifts_are_a_group(p: Parameterization, s: tuple, t: tuple, optimizer: str) -> None:
    both = [x + y for x, y in zip(s, t, strict=True)]
    assert shift(shift(p, s, optimizer=optimizer), t, optimizer=optimizer) == shift(
        p, both, optimizer=optimizer
    )
    assert shift(shift(p, s, optimizer=optimizer), [-x for x in s], optimizer=optimizer) == p


@given(parameterizations(), rows, optimizers)
def test_canonical_is_the_same_in_every_gauge(p: Parameterization, t: tuple, optimizer: str) -> None:
    moved = shift(p, t, optimizer=optimizer)
    one = canonical(p, optimizer)
    assert canonical(moved, optimizer) == one == canonical(one, optimizer)
    assert set(one.b) == {0}
    assert equivalent(p, moved, optimizer)


@settings(max_examples=60, deadline=None)
@given(parameterizations(), rows, optimizers, st.sampled_from(["relu", "gelu", "relu^2", "sigmoid"]))
def test_the_calculus_cannot_see_a_gauge(p: Parameterization, t: tuple, optimizer: str, phi: str) -> None:
    moved = shift(p, t, optimizer=optimizer)
    one = analyze(p, optimizer=optimizer, activation=phi, steps=3)
    other = analyze(moved, optimizer=optimizer, activation=phi, steps=3)
    assert (one.steps, one.regime, one.features) == (other.steps, other.regime, other.features)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_a_shift(name: str) -> None:
    p = presets_at(1)[name] if name == "mfp" else preset(name, 3)
    t = [Fraction(i, 2) for i in range(p.hidden_layers + 1)]
    own = t if p.biases is not None else ()
    moved = shift(p, t, bias_by=own)
    assert moved != p
    assert equivalent(p, moved)
    assert analyze(moved).steps == analyze(p).steps


def test_the_optimizer_decides_the_rule_for_rates() -> None:
    p = custom(1, a=["0", "0"], b=["0", "0"], c=["0", "0"], d=["0", "0"])
    sgd, adam = shift(p, ["1", "0"]), shift(p, ["1", "0"], optimizer="adam")
    assert (sgd.c_at(0)[0], adam.c_at(0)[0]) == (-2, -1)
    assert adam.phases[0].d == (1, 0)
    assert not equivalent(sgd, adam)


def test_a_different_network_is_not_equivalent() -> None:
    assert not equivalent(preset("mup", 3), preset("ntk", 3))
    assert not equivalent(preset("ip", 3), preset("ip-llr", 3))
    assert not equivalent(preset("mup", 3), preset("hp", 3))
    assert not equivalent(preset("ip", 3), preset("ip-non-centered", 3))


def test_mup_is_one_parameterization_in_all_its_tables() -> None:
    for name in ("tp4-mup", "tp5-table-3", "tp5-table-8", "mup-package"):
        assert equivalent(published(name, 4), preset("mup", 4)), name
    for name in ("tp5-table-3", "mup-package"):
        assert equivalent(published(name, 4, "adam"), published("tp5-table-8", 4, "adam"), "adam"), name
    assert published("hajjar-ip", 4) == preset("ip", 4)
    assert published("tp4-ntk", 2) == preset("ntk", 2)
    assert published("tp4-sp-1/m", 2) == preset("sp-stable", 2)


def test_adam_tables_learn_features_as_their_paper_says() -> None:
    result = analyze(published("tp5-table-3", 3, "adam"), optimizer="adam")
    assert result.regime == "feature_learning"
    assert len(result.features) == 3


@pytest.mark.parametrize("name", TABLES)
@given(p=parameterizations(), optimizer=optimizers)
@settings(max_examples=20)
def test_any_parameterization_can_be_written_in_any_table(
    name: str, p: Parameterization, optimizer: str
) -> None:
    written = in_gauge_of(name, p, optimizer)
    assert (written.a[0], written.a[1], written.a[-1]) == tuple(map(Fraction, TABLES[name].a))
    assert equivalent(written, p, optimizer)
    assert gauge_of(written, p.a, optimizer=optimizer) == p


def test_shifting_a_bias_that_shares_its_layer_is_refused() -> None:
    with pytest.raises(TheoryError, match="moves with it") as error:
        shift(preset("mup", 2), ["0", "0", "0"], bias_by=["1", "0", "0"])
    assert error.value.field == "bias_by"


def test_bad_shifts_name_what_is_wrong() -> None:
    with pytest.raises(TheoryError, match="4") as error:
        shift(preset("mup", 3), ["0", "0"])
    assert error.value.field == "by"
    with pytest.raises(TheoryError, match="did you mean 'adam'"):
        shift(preset("mup", 1), ["0", "0"], optimizer="adm")
    with pytest.raises(TheoryError, match="no rates for 'adam'"):
        published("tp4-mup", 2, "adam")
