"""Factors against the step-by-step calculus, and hand-worked values of their fixed points."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipcore.theory import OPTIMIZERS, Parameterization, RatePhase, custom, preset
from ipcore.theory.calculus import Propagation
from ipcore.theory.factors import (
    Law,
    degree_weights,
    factors,
    initial_factors,
    largest_pair,
    laws,
    offset_step,
    relative_changes,
    step,
    total,
)
from ipcore.theory.fixed_points import FixedPoint, entries_at, fixed_point, offset_fixed_point
from ipcore.theory.rules import rules

eighths = st.integers(-24, 24).map(lambda k: Fraction(k, 8))


@st.composite
def parameterizations(draw: st.DrawFn) -> Parameterization:
    """Any exponents, in one or two phases, with or without epsilon."""
    layers = draw(st.integers(2, 5))
    exponents = st.lists(eighths, min_size=layers, max_size=layers).map(tuple)
    phases = [RatePhase(0, draw(exponents), draw(st.none() | exponents))]
    if draw(st.booleans()):
        phases.append(RatePhase(draw(st.integers(1, 2)), draw(exponents), draw(st.none() | exponents)))
    return Parameterization(draw(exponents), draw(exponents), tuple(phases))


@settings(max_examples=80, deadline=None)
@given(
    parameterizations(), st.sampled_from(sorted(OPTIMIZERS)), st.sampled_from(["relu", "relu^2", "relu^3/2"])
)
def test_factors_multiply_sizes_as_the_calculus_does(p: Parameterization, optimizer: str, phi: str) -> None:
    setting = rules(optimizer, phi, "logistic")
    L, degree = p.hidden_layers, setting.activation.degree
    w = degree_weights(L, degree)
    V = initial_factors(p)
    run = Propagation(p, setting)
    for t in range(4):
        sizes = run.forward(t)
        run.backward(t)
        h = list(accumulate(V[:L], lambda below, v: degree * below + v))
        assert h == list(sizes.h[:L])
        S = total(V, w)
        assert [run.gradient(i) for i in range(L + 1)] == [S - v for v in V]
        run.update(t, p.phase_at(t))
        V = step(V, laws(p, optimizer, p.phase_at(t)), w)
        assert factors(p, run.entries()) == V


@settings(max_examples=100, deadline=None)
@given(parameterizations(), st.sampled_from(["sgd", "momentum", "sign", "adam"]))
def test_offset_factors_are_sizes_as_in_the_calculus(p: Parameterization, optimizer: str) -> None:
    run = Propagation(p, rules(optimizer, "sigmoid", "logistic"))
    V, L = initial_factors(p), p.hidden_layers
    for t in range(4):
        sizes = run.forward(t)
        run.backward(t)
        assert V[:L] == sizes.h[:L]
        run.update(t, p.phase_at(t))
        V = offset_step(V, laws(p, optimizer, p.phase_at(t)))


def balance(
    V: tuple[Fraction, ...], change: tuple[Law, ...], w: tuple[Fraction, ...]
) -> tuple[Fraction, ...]:
    """Exact iteration, 400 steps at most."""
    for _ in range(400):
        following = step(V, change, w)
        if following == V:
            break
        V = following
    return V


vectors = st.integers(2, 5).flatmap(
    lambda n: st.tuples(*[st.lists(eighths, min_size=n, max_size=n).map(tuple) for _ in range(3)])
)


@settings(max_examples=120, deadline=None)
@given(vectors)
def test_degree_1_is_decided_by_the_largest_pair(given_: tuple[tuple[Fraction, ...], ...]) -> None:
    V, k, _ = given_
    change, w = tuple(Law(x, None) for x in k), (Fraction(1),) * len(V)
    S = total(V, w)
    rho = relative_changes(V, change, S)
    fixed = fixed_point(V, change, w)
    assert (fixed is not None) == (largest_pair(rho) <= 0)
    third = step(step(step(V, change, w), change, w), change, w)
    if fixed is None:
        # Each cycle adds at least twice the smallest sum above 0, 1/8.
        assert step(third, change, w) != third
        assert total(third, w) > S
    else:
        assert fixed == FixedPoint(S + max(Fraction(0), *rho), third)
        assert step(third, change, w) == third


@settings(max_examples=80, deadline=None)
@given(vectors, st.sampled_from([Fraction(1), Fraction(2), Fraction(3)]), st.data())
def test_fixed_points_are_where_exact_iteration_ends(
    given_: tuple[tuple[Fraction, ...], ...], degree: Fraction, data: st.DataObject
) -> None:
    V, k, caps = given_
    kinds = data.draw(st.lists(st.sampled_from(["sgd", "sign", "adam"]), min_size=len(V), max_size=len(V)))
    change = tuple(
        Law(None if kind == "sign" else x, None if kind == "sgd" else cap)
        for kind, x, cap in zip(kinds, k, caps, strict=True)
    )
    w = degree_weights(len(V) - 1, degree)
    fixed = fixed_point(V, change, w)
    reached = balance(V, change, w)
    if fixed is None:
        assert total(reached, w) > 40
    else:
        assert fixed == FixedPoint(total(reached, w), reached)


def test_degrees_between_1_and_2_approach_what_they_never_reach() -> None:
    p = Fraction(3, 2)
    V: tuple[Fraction, ...] = (Fraction(0), Fraction(0))
    w = degree_weights(1, p)
    change = (Law(Fraction(1), None), Law(Fraction(-9), None))
    # V_1 = k + (p - 1) V_1 = 2: 1, 3/2, 7/4, ...
    fixed = fixed_point(V, change, w)
    assert fixed == FixedPoint(Fraction(3), (Fraction(2), Fraction(0)))
    for t in range(1, 20):
        V = step(V, change, w)
        assert V[0] == 2 - Fraction(1, 2 ** (t - 1))


@settings(max_examples=80, deadline=None)
@given(vectors, st.booleans())
def test_offset_fixed_points_are_reached_within_a_step_per_layer(
    given_: tuple[tuple[Fraction, ...], ...], capped: bool
) -> None:
    V, k, caps = given_
    change = tuple(Law(x, cap if capped else None) for x, cap in zip(k, caps, strict=True))
    fixed = offset_fixed_point(V, change)
    for _ in range(len(V)):
        V = offset_step(V, change)
    assert fixed == V == offset_step(V, change)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (custom(2, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["0"] * 3), ["-1/2", "1/2", "1/2"]),
        (preset("ntk", 3), ["-1/2"] * 4),
        (preset("mup", 3), ["0"] * 4),
        (preset("up:1/4", 3), ["-1/4"] * 4),
        (preset("ip", 4), ["-3/2", "-1/2", "-1/2", "-1/2", "-3/2"]),
        (preset("ip", 3), ["-1", "0", "0", "-1"]),
        (custom(1, a=["0", "0"], b=["10", "10"], c=["-1/200"] * 2), ["1/200", "1/200"]),
        (custom(3, a=["0"] * 3, b=["0", "1/2", "1/2"], c=["1/2"] * 3), ["-1", "0", "0", "0"]),
    ],
)
def test_hand_worked_relative_changes(p: Parameterization, expected: list[str]) -> None:
    V, w = initial_factors(p), degree_weights(p.hidden_layers)
    rho = relative_changes(V, laws(p, "sgd", p.phases[0]), total(V, w))
    assert [str(r) for r in rho] == expected


def test_entries_of_updates_at_the_fixed_point_are_those_of_the_calculus() -> None:
    p = preset("ip-llr", 4)
    run = Propagation(p, rules("sgd", "relu", "logistic"))
    for t in range(8):
        run.forward(t)
        run.backward(t)
        run.update(t, p.phase_at(t))
        if t == 0:
            early = run.entries()
    change = laws(p, "sgd", p.phases[-1])
    fixed = fixed_point(factors(p, early), change, degree_weights(4))
    assert fixed is not None
    assert entries_at(early, change, fixed) == run.entries()
