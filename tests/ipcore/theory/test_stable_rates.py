"""Largest and balanced completion, all stable rates of step 0: hand-worked values and brute force."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory import Biases, Parameterization, RatePhase, Regime, TheoryError, analyze, complete, preset
from tests.ipcore.theory.brute_force import brute_force, stable

EIGHTH = Fraction(1, 8)
eighths = st.integers(-24, 24).map(lambda k: Fraction(k, 8))
at_start = st.integers(0, 16).map(lambda k: Fraction(-k, 8))


def fractions(text: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(entry) for entry in text.split())


@st.composite
def starts(draw: st.DrawFn) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """(a, b) with nothing that grows at initialization."""
    h = [Fraction(0), *draw(st.lists(at_start, min_size=2, max_size=5))]
    h[0] = draw(at_start)
    s = [-h[0], *(below + Fraction(1, 2) - above for below, above in pairwise(h))]
    a = tuple(draw(eighths) for _ in s)
    return a, tuple(total - entry for total, entry in zip(s, a, strict=True))


def later_rates(p: Parameterization) -> dict[str, tuple[Fraction, ...]]:
    return {"c": p.c_at(1), "c_first": p.c_at(0)}


# a (b = 0), kind, changes of h^1.., rates of step 0, later rates: worked by hand from the rule.
WORKED = [
    ("0 1 1/2", "largest", "0 -1/2", "-1 -1 -1", "-1 -1 -1"),
    ("0 1 1 1/2", "largest", "0 0 -1/2", "-3/2 -2 -3/2 -3/2", "-1 -2 -1 -1"),
    ("0 1 1 1/2", "balanced", "-1/2 -1/2 -1/2", "-1 -3/2 -2 -3/2", None),
]


@pytest.mark.parametrize(("a", "kind", "changes", "first", "later"), WORKED)
def test_hand_worked(a: str, kind: str, changes: str, first: str, later: str | None) -> None:
    entries = fractions(a)
    done = complete(entries, [0] * len(entries), kind=kind)
    assert done.changes == fractions(changes)
    assert done.parameterization.c_at(0) == fractions(first)
    if later is not None:
        assert done.parameterization.c_at(1) == fractions(later)
    assert (done.kind, done.maximal) == (kind, kind == "largest")


@pytest.mark.parametrize("name", ["mup", "ntk", "sp", "ip", "up:1/4"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_both_kinds_agree_where_initial_matrices_keep_sizes(name: str, optimizer: str) -> None:
    p = preset(name, 4)
    largest = complete(p.a, p.b, optimizer=optimizer)
    balanced = complete(p.a, p.b, optimizer=optimizer, kind="balanced")
    assert largest.parameterization == balanced.parameterization
    assert largest.r == balanced.r
    assert balanced.maximal


def test_a_matrix_that_enlarges_has_a_largest_completion_and_no_balanced_one() -> None:
    # v_2 = 1/2: h^1 may change by m^(-1/2) only, h^2 by 1.
    done = complete(["1", "0", "1"], ["0", "0", "0"])
    assert (done.changes, done.r) == (fractions("-1/2 0"), None)
    assert analyze(done.parameterization).regime == Regime.FEATURE_LEARNING
    with pytest.raises(TheoryError, match="kind 'largest'"):
        complete(["1", "0", "1"], ["0", "0", "0"], kind="balanced")


def test_ip_has_other_rates_that_are_as_good() -> None:
    ip = preset("ip", 3)
    done = complete(ip.a, ip.b, pareto=True)
    assert (done.unique, done.maximal) == (False, True)
    assert done.stable is not None
    points = {point.changes: point.parameterization.c_at(0) for point in done.stable.points}
    # h^2 and h^3 start at -1/2 and -1: each may change by 1, or only as far as it restricts no other rate.
    assert points == {
        fractions("0 0 0"): fractions("-2 -5/2 -5/2 -2"),
        fractions("0 0 -1/2"): fractions("-2 -5/2 -2 -5/2"),
        fractions("0 -1/2 0"): fractions("-2 -2 -3 -2"),
        fractions("0 -1/2 -1"): fractions("-2 -2 -2 -3"),
    }
    assert done.stable.all_points
    for point in done.stable.points:
        assert analyze(point.parameterization).regime in {Regime.FEATURE_LEARNING, Regime.TRIVIAL}
    text = str(done)
    assert "Pareto" in text
    assert "-2 | -2 | -3 | -2" in text or "-2  -2  -3  -2" in text
    assert json.loads(json.dumps(done.to_dict()))["stable"]["points"][0]["changes"] == ["0", "0", "0"]


@pytest.mark.parametrize("name", ["mup", "ntk", "sp"])
def test_where_layers_start_as_large_as_they_may_change_rates_are_unique(name: str) -> None:
    p = preset(name, 4)
    done = complete(p.a, p.b, pareto=True)
    assert done.unique
    assert done.stable is not None
    assert [point.parameterization for point in done.stable.points] == [done.parameterization]


@settings(max_examples=120, deadline=None)
@given(starts(), st.booleans())
def test_the_largest_changes_are_attained_and_stable(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]], sign: bool
) -> None:
    a, b = start
    done = complete(a, b, optimizer="sign" if sign else "sgd")
    found = brute_force(a, b, **later_rates(done.parameterization), sign=sign)
    assert stable(found)
    for _, change in found[1:]:
        assert tuple(change) == (*done.changes, 0)


@settings(max_examples=60, deadline=None)
@given(starts(), st.booleans(), st.data())
def test_no_rate_of_a_pareto_point_can_be_raised(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]], sign: bool, data: st.DataObject
) -> None:
    a, b = start
    done = complete(a, b, optimizer="sign" if sign else "sgd", pareto=True)
    assert done.stable is not None
    assert done.parameterization == done.stable.points[0].parameterization
    point = data.draw(st.sampled_from(done.stable.points)).parameterization
    rates = later_rates(point)
    assert stable(brute_force(a, b, **rates, sign=sign))
    layer, when = data.draw(st.integers(0, len(a) - 1)), data.draw(st.sampled_from(sorted(rates)))
    raised = list(rates[when])
    raised[layer] -= EIGHTH
    for mse in (False, True):
        assert not stable(brute_force(a, b, **{**rates, when: tuple(raised)}, sign=sign, mse=mse))
    assert done.stable.contains(rates["c_first"])
    assert when == "c" or not done.stable.contains(raised)


@settings(max_examples=60, deadline=None)
@given(starts(), st.booleans(), st.data())
def test_the_polyhedron_holds_exactly_the_stable_rates_of_step_0(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]], sign: bool, data: st.DataObject
) -> None:
    a, b = start
    done = complete(a, b, optimizer="sign" if sign else "sgd", pareto=True)
    assert done.stable is not None
    near = data.draw(st.sampled_from(done.stable.points)).parameterization.c_at(0)
    c = tuple(entry + data.draw(st.integers(-2, 4)) * EIGHTH for entry in near)
    found = brute_force(a, b, c, steps=1, sign=sign)
    assert done.stable.contains(c) == stable(found)
    if stable(found):
        assert all(x <= y for x, y in zip(found[1][1], (*done.changes, 0), strict=True))


@pytest.mark.parametrize("activation", ["relu", "relu^2", "sigmoid", "tanh"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "sign"])
def test_pareto_points_of_other_activations(activation: str, optimizer: str) -> None:
    ip = preset("ip", 3)
    biases = preset("ip-bias", 3).biases
    setting = {"optimizer": optimizer, "activation": activation, "loss": "mse"}
    for own in (None, biases):
        done = complete(ip.a, ip.b, biases=own, pareto=True, **setting)
        assert done.stable is not None
        for point in done.stable.points:
            p = point.parameterization
            bias_c = p.biases.phases[0].c if p.biases else ()
            assert done.stable.contains(p.c_at(0), bias_c)
            # Nothing grows, even in the run of upper bounds.
            assert all(max(s.h) <= 0 and s.f <= 0 for s in analyze(p, **setting).steps)
            for layer in range(4):
                c = list(p.c_at(0))
                c[layer] -= EIGHTH
                assert not done.stable.contains(c, bias_c)
                first = RatePhase(0, tuple(c))
                raised = Parameterization(p.a, p.b, (first, RatePhase(1, p.c_at(1))), p.biases)
                assert analyze(raised, **setting).regime in {Regime.UNSTABLE, Regime.MEASURE}


def test_points_are_bounded() -> None:
    done = complete(["0", "1", "1"], ["0", "0", "0"], hidden_layers=200, pareto=True)
    assert done.stable is not None
    assert len(done.stable.points) == 10  # 2^199 of them
    assert not done.stable.all_points
    assert done.stable.points[0].parameterization == done.parameterization


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"kind": "larges"}, "kind", "did you mean 'largest'"),
        ({"kind": 3}, "kind", "not 3; covered: largest, balanced"),
        ({"kind": None}, "kind", "not None"),
        ({"hidden_layers": 2.0}, "hidden_layers", "must be an integer, not 2.0"),
        ({"hidden_layers": True}, "hidden_layers", "must be an integer, not True"),
        ({"activation": 1}, "activation", "must be text, not 1"),
        ({"optimizer": None}, "optimizer", "must be text, not None"),
        ({"biases": "0"}, "biases", "must be Biases"),
        ({"mean": 0}, "mean", "must be a list"),
    ],
)
def test_bad_input_is_named(given: dict[str, object], field: str, said: str) -> None:
    with pytest.raises(TheoryError, match=said) as error:
        complete(["0", "1", "1"], ["0", "0", "0"], **given)  # type: ignore[arg-type]
    assert error.value.field == field


@pytest.mark.parametrize(
    ("a", "b", "field", "said"),
    [
        ("0,1,1", ["0"] * 3, "a", "must be a list or a tuple"),
        (5, ["0"] * 3, "a", "must be a list or a tuple"),
        (["0", "1", "1"], None, "b", "must be a list or a tuple"),
        (["0", "1", "1"], ["0"] * 4, "b", "has 4 entries"),
        (["0", 0.5, "1"], ["0"] * 3, r"a\[1\]", "0.5 is a float"),
    ],
)
def test_lists_that_are_none_are_named(a: object, b: object, field: str, said: str) -> None:
    with pytest.raises(TheoryError, match=said) as error:
        complete(a, b)  # type: ignore[arg-type]
    assert error.value.field == field.replace("\\", "")


def test_rates_that_do_not_fit_the_polyhedron_are_named() -> None:
    found = complete(["0", "1", "1"], ["0", "0", "0"], pareto=True).stable
    assert found is not None
    for c, bias_c, field in ((["0"], (), "c"), (["0", "0", "x"], (), "c[2]"), (["0"] * 3, ["0"], "bias_c")):
        with pytest.raises(TheoryError) as error:
            found.contains(c, bias_c)
        assert error.value.field == field
    own = Biases((Fraction(0),) * 3, (Fraction(0),) * 3, (RatePhase(0, (Fraction(0),) * 3),))
    biased = complete(["0", "1", "1"], ["0", "0", "0"], biases=own, pareto=True).stable
    assert biased is not None
    with pytest.raises(TheoryError, match="needs 3"):
        biased.contains(["0"] * 3)
