"""Every wrong input raises the theory's error, which names every wrong field and is short."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from ipcore.theory import (
    Biases,
    Parameterization,
    RatePhase,
    Reweighting,
    TheoryError,
    analyze,
    canonical,
    complete,
    custom,
    epsilon_crossovers,
    equivalent,
    find_preset,
    gauge_of,
    gradient_exponents,
    largest_rate_of,
    largest_stable_rate,
    parse_exponent,
    parts_of,
    phases,
    preset,
    presets_at,
    published,
    shift,
)

HUGE = 10**10_000
ZEROS = (Fraction(0),) * 3
STEADY = (RatePhase(0, ZEROS),)
MUP = preset("mup", 2)
THREE = ["0"] * 3


def read(**changes: Any) -> Parameterization:
    data = {"a": THREE, "b": THREE, "phases": [{"start": 0, "c": THREE}]} | changes
    return Parameterization.from_dict({key: value for key, value in data.items() if value is not ...})


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        (lambda: preset("ip", 1.0), ["hidden_layers"]),
        (lambda: preset("ip", float("nan")), ["hidden_layers"]),
        (lambda: preset("ip", "3"), ["hidden_layers"]),
        (lambda: preset("ip", True), ["hidden_layers"]),
        (lambda: preset("ip", HUGE), ["hidden_layers"]),
        (lambda: preset(None, 3.7, optimizer=5), ["preset", "hidden_layers", "optimizer"]),
        (lambda: find_preset("up:" + "1" * 10_000), ["preset"]),
        (lambda: presets_at(2.0), ["hidden_layers"]),
        (lambda: analyze(MUP, epsilon=3), ["epsilon"]),
        (lambda: phases(MUP, {"c": (-1, 1), "a_last": (0, 1)}, work="many"), ["work"]),
        (lambda: parts_of(MUP, 1), ["analysis"]),
        (lambda: parts_of(analyze(MUP), "1"), ["step"]),
        (lambda: gradient_exponents(None, 0), ["analysis"]),
        (lambda: gradient_exponents(analyze(MUP), HUGE), ["step"]),
        (lambda: epsilon_crossovers(analyze(MUP), (1e-3,), 64, 1e-8), ["gradients"]),
        (lambda: largest_rate_of("mup"), ["analysis"]),
        (lambda: largest_stable_rate("mup"), ["parameterization"]),
        (lambda: largest_stable_rate(MUP, calibrated=1), ["calibrated"]),
        (lambda: largest_stable_rate(MUP, block_matrices=True, alignment="half"),
         ["alignment", "block_matrices"]),
        (lambda: published("tp4-sp", 2.0), ["hidden_layers"]),
        (lambda: custom(2, a=THREE, b=THREE, c=0), ["c"]),
        (lambda: custom(2, a="000", b=["0", "x", "1/0"], c=[0.5, None, "1e5"]),
         ["a", "b[1]", "b[2]", "c[0]", "c[1]", "c[2]"]),
        (lambda: custom(2, a=["\u0663", "0", "0"], b=THREE, c=["0", "1" * 10_000, HUGE]),
         ["a[0]", "c[1]", "c[2]"]),
        (lambda: custom(2, a=[Fraction(1, HUGE), 0, 0], b=THREE, c=["0"]), ["a[0]", "c"]),
        (lambda: Parameterization((0.0, 1.0), (float("nan"), "1/2"), STEADY),
         ["a[0]", "a[1]", "b[0]", "b[1]"]),
        (lambda: Parameterization(None, ZEROS, 3), ["a", "phases"]),
        (lambda: Parameterization(ZEROS, ZEROS, STEADY, biases=5, mean=3, reweightings=7),
         ["biases", "mean", "reweightings"]),
        (lambda: RatePhase(1.5, ZEROS), ["start"]),
        (lambda: RatePhase(True, ZEROS), ["start"]),
        (lambda: RatePhase(HUGE, (1.5,), d=(0.5,)), ["start", "c[0]", "d[0]"]),
        (lambda: Reweighting(0, ("0", None)), ["start", "k[0]"]),
        (lambda: Biases(1, ZEROS, None), ["biases.a", "biases.phases"]),
        (lambda: analyze(None), ["parameterization"]),
        (lambda: analyze("ip", optimizer=None, activation=5, loss=["mse"], steps="3"),
         ["optimizer", "activation", "loss", "parameterization", "steps"]),
        (lambda: analyze(MUP, steps=HUGE), ["steps"]),
        (lambda: analyze(MUP, steps=-HUGE, activation="relu^" + "9" * 10_000), ["activation", "steps"]),
        (lambda: analyze(MUP, activation="relu^\u0663"), ["activation"]),
        (lambda: analyze(preset("ip", 1000), activation="relu^999"), ["activation"]),
        (lambda: analyze(custom(200, a=[Fraction(1, 10**8 + i) for i in range(201)], b=THREE, c=THREE)),
         ["parameterization"]),
        (lambda: read(phases=[{"c": THREE}]), ["phases[0].start"]),
        (lambda: read(phases=[{"start": 0.9, "c": THREE}]), ["phases[0].start"]),
        (lambda: read(a="000", b=..., phases=[{"start": "0", "c": 3}, 5]), ["b"]),
        (lambda: read(a="000", phases=[{"start": "0", "c": 3}, 5]),
         ["a", "phases[0].start", "phases[0].c", "phases[1]"]),
        (lambda: read(biases=[1], mean="abc", reweightings=[{"start": 1.5, "k": [0.5]}]),
         ["biases", "mean", "reweightings[0].start", "reweightings[0].k[0]"]),
        (lambda: Parameterization.from_dict(None), [""]),
        (lambda: MUP.c_at(-1), ["step"]),
        (lambda: MUP.phase_at(0.5), ["step"]),
        (lambda: MUP.k_at(None), ["step"]),
        (lambda: shift(None, THREE), ["parameterization"]),
        (lambda: shift(MUP, 5), ["by"]),
        (lambda: canonical(3), ["parameterization"]),
        (lambda: equivalent(MUP, 3), ["parameterization"]),
        (lambda: gauge_of(3, THREE), ["parameterization"]),
        (lambda: complete(None, THREE), ["a"]),
        (lambda: complete(THREE, 5), ["b"]),
        (lambda: parse_exponent(None), [""]),
    ],
)  # fmt: skip
def test_every_wrong_field_is_named(call: Callable[[], object], fields: list[str]) -> None:
    with pytest.raises(TheoryError) as raised:
        call()
    error = raised.value
    assert [field for field, _ in error.problems] == fields
    assert error.field == fields[0]
    assert all(field in str(error) for field in fields)
    assert len(str(error)) < 1_000
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.problems) == (str(error), error.problems)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("shampoo", "muon-unscaled"),
        ("Scion", "muon-spectral"),
        ("rmsprop", "adam"),
        ("adagrad", "adam"),
        ("nesterov", "momentum"),
    ],
)
def test_optimizers_that_theory_lacks_are_named_with_the_nearest_that_it_has(name: str, nearest: str) -> None:
    with pytest.raises(TheoryError, match=f"theory lacks '{name}'; the nearest that it has is '{nearest}'"):
        analyze(MUP, optimizer=name)
    with pytest.raises(TheoryError, match="the nearest"):
        preset("mup", 2, optimizer=name)


def test_one_list_of_optimizers() -> None:
    adam = preset("mup", 2, optimizer="adam")
    assert preset("mup", 2, optimizer="adamw") == adam
    for name in ("sign", "signum", "lion"):  # no epsilon
        assert preset("mup", 2, optimizer=name) == custom(2, a=adam.a, b=adam.b, c=adam.c_at(0))
        assert analyze(adam, optimizer=name).steps == analyze(adam, optimizer="sign").steps
    weighted = analyze(adam, optimizer="adamw")
    assert weighted.optimizer == "adamw"
    assert weighted.regime == analyze(adam, optimizer="adam").regime
    assert equivalent(adam, shift(adam, ["1", "2", "3"], optimizer="adamw"), "adamw")
    assert complete(MUP.a, MUP.b, optimizer="adamw").parameterization == adam


def test_exact_numbers_of_any_kind_make_the_same_value() -> None:
    assert Parameterization([0, 0, 0], [0, 0, 0], [RatePhase(0, [0, 0, 0])]) == Parameterization(
        ZEROS, ZEROS, STEADY
    )


def test_bad_input_is_refused_at_once() -> None:
    start = time.process_time()
    for text in ("1" * 10**6, "1/" + "0" * 10**6, "relu^" + "2" * 10**6):
        with pytest.raises(TheoryError):
            parse_exponent(text)
        with pytest.raises(TheoryError):
            analyze(MUP, activation=text, optimizer=text, loss=text)
    assert time.process_time() - start < 1


def test_a_message_of_many_problems_is_short_and_the_error_has_all() -> None:
    with pytest.raises(TheoryError) as raised:
        custom(200, a=[0.5] * 201, b=[0] * 201, c=[0] * 201)
    assert len(raised.value.problems) == 201
    assert str(raised.value).endswith("; and 181 more")
    assert len(str(raised.value)) < 3_000
