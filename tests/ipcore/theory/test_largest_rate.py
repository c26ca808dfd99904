"""The largest stable base rate: values worked by hand, and brute force over random exponents."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ipcore.theory import Alignment, Parameterization, RatePhase, Regime, TheoryError, analyze, custom, preset
from ipcore.theory.growth import Network, growth, iterated
from ipcore.theory.largest_rate import largest_stable_rate
from ipcore.theory.rules import rules
from tests.ipcore.theory.brute_force import brute_force, stable
from tests.ipcore.theory.test_stable_rates import eighths, starts

EIGHTH = Fraction(1, 8)
BOUNDS = [Alignment.of(3, forward="1/2"), Alignment.of(3)]
GROWS = {Regime.UNSTABLE, Regime.CONTROLLED_DIVERGENCE}


def faster(p: Parameterization, delta: Fraction) -> Parameterization:
    return replace(p, phases=tuple(replace(f, c=tuple(c - delta for c in f.c)) for f in p.phases))


# preset, optimizer, delta* and delta_c at L = 1, 2, 3, 6, worked by hand.
WORKED = [
    ("sp", "sgd", "-1 -1 -1 -1", "0 -1/2 -1/2 -1/2"),
    ("sp", "sign", "-1 -3/2 -3/2 -3/2", "0 -1 -1 -1"),
    ("mup", "sgd", "0 0 0 0", "0 0 0 0"),
    ("ntk", "sgd", "0 0 0 0", "1/2 1/2 1/2 1/2"),
    ("up:1/4", "momentum", "0 0 0 0", "1/4 1/4 1/4 1/4"),
    ("ip", "sgd", "0 0 0 3/2", "0 0 0 3/2"),
    ("ip-llr", "sgd", "0 0 0 0", "0 0 0 0"),
    ("sp-stable", "sgd", "0 0 0 0", "1 1/2 1/2 1/2"),
]


@pytest.mark.parametrize(("name", "optimizer", "stable_", "controlled"), WORKED)
def test_hand_worked(name: str, optimizer: str, stable_: str, controlled: str) -> None:
    for hidden_layers, low, high in zip((1, 2, 3, 6), stable_.split(), controlled.split(), strict=True):
        p = preset(name, hidden_layers)
        found = largest_stable_rate(p, optimizer=optimizer)
        assert (found.stable, found.controlled) == (Fraction(low), Fraction(high)), hidden_layers
        assert found.exact
        # With squared errors, a growing output makes everything grow, or the loss.
        squared = largest_stable_rate(p, optimizer=optimizer, loss="mse")
        assert (squared.stable, squared.controlled) == (Fraction(low), Fraction(low))


@pytest.mark.parametrize("hidden_layers", [1, 2, 5])
def test_calibrated_first_rates_do_not_follow_the_base_rate(hidden_layers: int) -> None:
    llr = preset("ip-llr", hidden_layers)
    found = largest_stable_rate(llr, calibrated=True)
    assert (found.stable, found.controlled, found.exact) == (0, 0, True)
    # Calibration corrects first rates of layers 2.. that are m^(-1) too small, but not the others.
    shy = RatePhase(0, tuple(c + 1 for c in llr.c_at(0)))
    slow = replace(llr, phases=(shy, RatePhase(1, tuple(c + 1 for c in llr.c_at(1)))))
    assert largest_stable_rate(slow, calibrated=True).stable == largest_stable_rate(slow).stable == 1
    first_only = replace(llr, phases=(shy, RatePhase(1, llr.c_at(1))))
    assert largest_stable_rate(first_only, calibrated=True).stable == 0


@pytest.mark.parametrize(("hidden_layers", "delta"), [(1, "0"), (2, "-1/2"), (4, "-1/2")])
def test_adam_with_one_rate_for_all_layers(hidden_layers: int, delta: str) -> None:
    # U_l = -c_l - a_l: hidden matrices with a = 1/2 change h by m^(1/2) at c = 0.
    mup = preset("mup", hidden_layers)
    p = custom(hidden_layers, mup.a, mup.b, [0] * (hidden_layers + 1))
    for loss in ("cross_entropy", "mse"):
        found = largest_stable_rate(p, optimizer="adam", loss=loss)
        assert (found.stable, found.controlled) == (Fraction(delta), Fraction(delta))


def test_the_other_things_that_a_parameterization_holds() -> None:
    for name in ("hp", "hpz", "ip-bias", "ip-non-centered"):
        found = largest_stable_rate(preset(name, 4))
        assert (found.stable, found.controlled, found.exact) == (0, 0, True), name
    # Adam as frameworks have it: epsilon does not follow the gradients of sp, which fall with the width.
    found = largest_stable_rate(preset("sp", 3, optimizer="adam"), optimizer="adam")
    assert (found.stable, found.controlled) == (-1, Fraction(-1, 2))


def test_what_starts_too_large_is_stable_at_no_rate() -> None:
    found = largest_stable_rate(custom(2, ["0"] * 3, ["0"] * 3, ["0"] * 3))  # h^2 starts at m^(1/2)
    assert (found.stable, found.controlled, found.exact) == (None, None, True)
    assert found.summary == "no base rate is stable"
    # The output starts at m^(1/2), hidden layers do not: controlled at most. f_0 at readout b = 0.
    found = largest_stable_rate(custom(2, ["0"] * 3, ["0", "1/2", "0"], ["0"] * 3))
    assert found.stable is None
    assert found.controlled == -1  # dh^2 is of order 1: W^2 changes h^2 by m^(1 - c + delta)
    assert "no base rate is stable; up to order m^(-1) only the output grows" in found.summary


@pytest.mark.parametrize("activation", ["relu^2", "relu^3/2"])
def test_powers_are_exact_at_depth(activation: str) -> None:
    # The denominators have as many digits as there are layers.
    llr = preset("ip-llr", 12)
    found = largest_stable_rate(llr, activation=activation)
    assert found.exact
    assert found.stable is not None
    network = Network(llr, rules("sgd", activation, "cross_entropy"), output=True)
    tiny = Fraction(1, 10**60)
    assert growth(network, found.stable).bounded
    assert not growth(network, found.stable + tiny).bounded


def test_words() -> None:
    def said(name: str, **setting: str) -> str:
        return largest_stable_rate(preset(name, 3), **setting).summary  # type: ignore[arg-type]

    assert said("mup") == "the largest stable base rate does not depend on the width"
    assert said("sp", loss="mse") == "the largest stable base rate falls like m^(-1)"
    assert "falls like m^(-1); up to order m^(-1/2) only the output grows" in said("sp")
    found = largest_stable_rate(preset("ip", 6), activation="tanh")
    assert not found.exact  # alignment is in doubt
    assert "grows like m^(3/2), or is larger" in found.summary
    assert json.loads(json.dumps(found.to_dict()))["stable"] == "3/2"


@settings(max_examples=40, deadline=None)
@given(starts(), st.booleans(), st.booleans(), st.data())
def test_brute_force(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]], sign: bool, switches: bool, data: st.DataObject
) -> None:
    a, b = start
    c = tuple(data.draw(eighths) for _ in a)
    c_first = tuple(data.draw(eighths) for _ in a) if switches else c
    phases = (RatePhase(0, c_first), RatePhase(1, c)) if switches else (RatePhase(0, c),)
    p = Parameterization(a, b, phases)
    found = largest_stable_rate(p, optimizer="sign" if sign else "sgd")
    assert found.exact
    assert found.stable is not None
    assert found.controlled is not None
    assert found.stable <= found.controlled

    def records(delta: Fraction, *, mse: bool = False) -> list[tuple[list[Fraction], list[Fraction]]]:
        rates = {"c": tuple(x - delta for x in c), "c_first": tuple(x - delta for x in c_first)}
        return brute_force(a, b, **rates, sign=sign, mse=mse, steps=400)

    assert stable(records(found.stable))
    assert stable(records(found.stable, mse=True))
    assert not stable(records(found.stable + EIGHTH))
    assert not stable(records(found.stable + EIGHTH, mse=True))
    assert max(max(h[:-1]) for h, _ in records(found.controlled)) <= 0
    assert max(max(h[:-1]) for h, _ in records(found.controlled + EIGHTH)) > 0


@settings(max_examples=25, deadline=None)
@given(
    starts(),
    st.sampled_from(["sgd", "sign"]),
    st.sampled_from(["relu", "relu^2", "sigmoid"]),
    st.sampled_from(["logistic", "mse"]),
    st.data(),
)
def test_verdicts_for_all_steps_change_exactly_there(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]],
    optimizer: str,
    activation: str,
    loss: str,
    data: st.DataObject,
) -> None:
    a, b = start
    p = Parameterization(a, b, (RatePhase(0, tuple(data.draw(eighths) for _ in a)),))
    setting = {"optimizer": optimizer, "activation": activation, "loss": loss}
    found = largest_stable_rate(p, **setting)
    assume(found.stable is not None)  # with sigmoid some start too large
    assert found.exact
    assert found.stable is not None
    assert found.controlled is not None

    def at(delta: Fraction) -> Regime:
        return analyze(faster(p, delta), **setting).regime  # type: ignore[arg-type]

    little = Fraction(1, 10**6)
    assume(at(found.stable) != Regime.MEASURE)
    assert at(found.stable) not in GROWS
    assert at(found.stable + little) in GROWS
    assert at(found.controlled) != Regime.UNSTABLE
    assert at(found.controlled + little) == Regime.UNSTABLE


@settings(max_examples=25, deadline=None)
@given(
    starts(),
    st.sampled_from(["sgd", "momentum", "sign", "adam"]),
    st.sampled_from(["relu", "relu^2", "relu^3/2", "sigmoid", "softplus"]),
    st.booleans(),
    st.data(),
)
def test_both_ways_of_looking_agree(
    start: tuple[tuple[Fraction, ...], tuple[Fraction, ...]],
    optimizer: str,
    activation: str,
    output: bool,
    data: st.DataObject,
) -> None:
    """The fixed point of the factors, and the calculus iterated."""
    a, b = start
    c = tuple(data.draw(eighths) for _ in a)
    d = tuple(data.draw(eighths) for _ in a) if optimizer == "adam" else None
    p = Parameterization(a, b, (RatePhase(0, c, d),))
    network = Network(p, rules(optimizer, activation, "cross_entropy"), output=output)
    delta = data.draw(eighths)
    known, seen = growth(network, delta), iterated(network, delta, aligned=True)
    if seen.certain:
        assert known.bounded == seen.bounded
    else:
        assert known.certain  # grows slowly, or approaches a fixed point without reaching it


@pytest.mark.parametrize("activation", ["relu^2", "relu^3/2", "sigmoid", "tanh"])
@pytest.mark.parametrize("name", ["sp", "mup", "ip-llr", "ip-bias"])
def test_the_verdict_changes_there(name: str, activation: str) -> None:
    for loss in ("cross_entropy", "mse"):
        p = preset(name, 3)
        found = largest_stable_rate(p, activation=activation, loss=loss)
        assert found.exact
        assert found.stable is not None

        def at(delta: Fraction, p: Parameterization = p, loss: str = loss) -> Regime:
            moved = faster(p, delta)
            if p.biases is not None:
                moved = replace(moved, biases=faster_biases(p, delta))
            return analyze(moved, activation=activation, loss=loss).regime

        assert at(found.stable) not in GROWS
        assert at(found.stable + EIGHTH) in GROWS
        assert found.controlled is not None
        assert at(found.controlled) != Regime.UNSTABLE
        assert at(found.controlled + EIGHTH) == Regime.UNSTABLE


def faster_biases(p: Parameterization, delta: Fraction):  # type: ignore[no-untyped-def]
    own = p.biases
    assert own is not None
    return replace(own, phases=tuple(replace(f, c=tuple(c - delta for c in f.c)) for f in own.phases))


@pytest.mark.parametrize(
    ("given_", "field", "said"),
    [
        ({"parameterization": "mup"}, "parameterization", "must be a Parameterization, not 'mup'"),
        ({"parameterization": None}, "parameterization", "must be a Parameterization"),
        ({"optimizer": "adamm"}, "optimizer", "did you mean 'adam'"),
        ({"optimizer": 3}, "optimizer", "must be text"),
        ({"loss": "hinge"}, "loss", "there are"),
        ({"calibrated": "yes"}, "calibrated", "must be True or False"),
        ({"calibrated": True, "activation": "tanh"}, "calibrated", "not aligned"),
        ({"calibrated": True, "parameterization": preset("ip-bias", 3)}, "calibrated", "biases of their own"),
        ({"alignment": BOUNDS}, "alignment", "ask for each of the bounds"),
        ({"parameterization": preset("mup", 1001)}, "hidden_layers", "at most 1000 hidden layers, not 1001"),
        ({"parameterization": preset("hp", 101)}, "hidden_layers", "at most 100 hidden layers with biases"),
        (
            {"parameterization": preset("mup", 201), "activation": "relu^7"},
            "hidden_layers",
            r"at most 200 hidden layers with relu\^7, not 201",
        ),
    ],
)
def test_bad_input_is_named(given_: dict[str, object], field: str, said: str) -> None:
    with pytest.raises(TheoryError, match=said) as error:
        largest_stable_rate(**{"parameterization": preset("ip-llr", 3), **given_})  # type: ignore[arg-type]
    assert error.value.field == field


def test_calibrated_first_updates_that_make_the_output_grow_leave_no_stable_rate():
    # Calibrated, h^2 and h^3 of NTK move by order 1 along their gradients, which are multiples of the
    # readout's initial weights: m products of order 1 times the multiplier m^(-1/2) change f by m^(1/2),
    # whatever the base rate. The first layer moves by m^(delta - 1/2), so hidden layers stay bounded up to
    # delta = 1/2.
    found = largest_stable_rate(preset("ntk", 3), loss="mse", calibrated=True)
    assert (found.stable, found.controlled) == (None, None)
    survived = largest_stable_rate(preset("ntk", 3), loss="cross_entropy", calibrated=True)
    assert (survived.stable, survived.controlled) == (None, Fraction(1, 2))


def test_powers_of_relu_take_no_time_that_grows_with_their_digits():
    """Numbers of 85 digits are looked at; 200 layers took a minute."""
    p = custom(100, ["0", "1/2", "1/2"], ["0", "1/8", "5/8"], ["-1", "3/8", "1"], ["1/8", "-2", "5/2"])
    begun = time.process_time()
    found = largest_stable_rate(p, activation="relu^7")
    assert time.process_time() - begun < 5
    assert found.stable is not None
    assert found.exact
