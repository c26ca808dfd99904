"""Completion returns the published rates from their (a, b), and closed forms derived by hand."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from ipcore.theory import RatePhase, TheoryError, analyze, complete, custom, preset


@pytest.mark.parametrize("hidden_layers", [1, 2, 3, 6, 11])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_ip_is_completed_to_ip_llr(hidden_layers: int, optimizer: str) -> None:
    ip = preset("ip", hidden_layers)
    done = complete(ip.a, ip.b, optimizer=optimizer)
    assert done.parameterization == preset("ip-llr", hidden_layers)
    assert (done.r, done.maximal) == (0, True)


@pytest.mark.parametrize("name", ["mup", "mup-yang-hu", "ntk", "ip-non-centered"])
@pytest.mark.parametrize("hidden_layers", [1, 2, 5])
def test_others_get_their_own_rates(name: str, hidden_layers: int) -> None:
    p = preset(name, hidden_layers)
    assert complete(p.a, p.b, mean=p.mean).parameterization == p


def test_ip_bias_gets_its_weights_and_biases_back() -> None:
    p = preset("ip-bias", 5)
    assert complete(p.a, p.b, biases=p.biases).parameterization == p


def test_up_completes_to_itself_at_its_own_r() -> None:
    p = preset("up:1/3", 4)
    done = complete(p.a, p.b)
    assert done.r == Fraction(1, 3)
    assert done.parameterization == p


def test_sp_gets_a_rate_per_layer_not_the_global_one() -> None:
    done = complete(["0", "0", "0"], ["0", "1/2", "1/2"], hidden_layers=4)
    assert done.parameterization.phases == (RatePhase(0, (Fraction(0), *[Fraction(1)] * 4)),)
    assert done.r == Fraction(1, 2)


@pytest.mark.parametrize("p", [1, 2, 3, Fraction(3, 2)])
@pytest.mark.parametrize("hidden_layers", [1, 2, 4])
def test_homogeneous_activations_need_larger_first_rates(p: Fraction | int, hidden_layers: int) -> None:
    # G = sum of the factors that vanish on the way: p (p^{L-1} - 1) / (2 (p - 1)); (L-1)/2 for p = 1.
    if p == 1:
        G = Fraction(hidden_layers - 1, 2)
    else:
        G = Fraction(p) * (Fraction(p) ** (hidden_layers - 1) - 1) / (2 * (Fraction(p) - 1))
    ip = preset("ip", hidden_layers)
    done = complete(ip.a, ip.b, activation=f"relu^{p}").parameterization
    first = done.c_at(0)
    assert first[0] == first[-1] == -(1 + G)
    assert set(first[1:-1]) <= {-(Fraction(3, 2) + G)}
    assert done.c_at(1) == ip.c_at(0)


def test_activations_that_do_not_vanish_at_0_get_the_rates_of_ip_bias() -> None:
    ip, ip_bias = preset("ip", 5), preset("ip-bias", 5)
    done = complete(ip.a, ip.b, activation="sigmoid").parameterization
    assert done.phases == ip_bias.phases


def test_adam_needs_no_large_first_step_but_scaled_epsilons() -> None:
    L = 4
    ip = preset("ip", L)
    phases = complete(ip.a, ip.b, optimizer="adam").parameterization.phases
    assert all(set(phase.c) == {0} for phase in phases)
    outer, inner = Fraction(L + 1, 2), Fraction(L + 2, 2)
    assert [phase.d for phase in phases] == [(outer, inner, inner, inner, outer), (1, 2, 2, 2, 1)]


def test_adams_epsilons_are_the_faithful_ones_of_tensor_programs_4b() -> None:
    # d_l = a_l + a_{L+1} + b_{L+1} below the readout, d_{L+1} = a_{L+1}.
    p = custom(3, a=["1/3", "-1/2", "0", "1/4"], b=["-1/3", "1", "1/2", "3/4"], c=["0"] * 4)
    phases = complete(p.a, p.b, optimizer="adam").parameterization.phases
    assert len(phases) == 1
    assert phases[0].d == (*[a + 1 for a in p.a[:3]], p.a[3])


def test_completed_ip_learns_in_every_layer() -> None:
    ip = preset("ip", 6)
    for optimizer in ("sgd", "momentum", "adam", "sign"):
        result = analyze(complete(ip.a, ip.b, optimizer=optimizer).parameterization, optimizer=optimizer)
        assert result.regime == "feature_learning"
        assert len(result.features) == 6


def test_what_no_rates_can_save_is_refused() -> None:
    with pytest.raises(TheoryError, match="initialization") as error:
        complete(["0", "0", "0"], ["0", "0", "0"], hidden_layers=2)
    assert error.value.field == "a[1]"
    # h^1 vanishes like 1/m and layer 2 makes up for it at the start, but not for changes of order 1 below.
    with pytest.raises(TheoryError, match="a \\+ b must be at least 1/2"):
        complete(["1", "0", "1"], ["0", "0", "0"], hidden_layers=2, kind="balanced")
    with pytest.raises(TheoryError, match="did you mean 'gelu'"):
        complete(["0", "1"], ["0", "0"], activation="gellu")
    with pytest.raises(TheoryError) as wrong:
        complete(["0", "1", "1"], ["0"], hidden_layers=3)
    assert wrong.value.field == "b"


def test_result_is_json_ready() -> None:
    ip = preset("ip", 3)
    data = json.loads(json.dumps(complete(ip.a, ip.b).to_dict()))
    assert data["parameterization"]["phases"][0]["c"] == ["-2", "-5/2", "-5/2", "-2"]
    assert data["maximal"] is True
    assert "r = 0" in data["summary"]


def test_reweighted_initial_matrices_are_refused() -> None:
    hp = preset("hp", 3)
    with pytest.raises(TheoryError, match="re-weighted initial matrices") as error:
        complete(hp.a, hp.b, reweightings=hp.reweightings)
    assert error.value.field == "reweightings"
    assert "not cover re-weighted" in analyze(hp, activation="tanh").advice


def test_refusals_speak_of_what_was_given() -> None:
    with pytest.raises(TheoryError, match="has 0 entries; a network has at least 2 layers") as error:
        complete([], [])
    assert error.value.field == "a"
    with pytest.raises(TheoryError, match="change by order 1 and the output by order 1"):
        complete(["1", "0", "1"], ["0", "0", "0"], hidden_layers=2, kind="balanced")
    with pytest.raises(TheoryError, match=r"needs 3 \(one per layer\)$"):
        complete(["0", "1"], ["0", "0", "0"], hidden_layers=2)
