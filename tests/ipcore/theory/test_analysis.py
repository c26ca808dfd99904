"""Arguments that `analyze` accepts and refuses, and its results."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from ipcore.theory import Parameterization, RatePhase, TheoryError, analyze, complete, custom, preset


@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        ({"activation": "geluu"}, "activation", "did you mean 'gelu'"),
        ({"activation": "relu^1/2"}, "activation", "at least 1"),
        ({"optimizer": "adamm"}, "optimizer", "did you mean 'adam'"),
        ({"optimizer": "soap"}, "optimizer", "covered: sgd, momentum, adam, adamw, sign"),
        ({"loss": "hinge"}, "loss", "there are: cross_entropy, mse, logistic"),
        ({"steps": 0}, "steps", "at least 1"),
        ({"steps": 10**9}, "steps", "at most 33333"),
        ({"steps": 2.5}, "steps", "must be an integer, not 2.5"),
        ({"steps": True}, "steps", "must be an integer, not True"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(arguments: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(TheoryError, match=words) as error:
        analyze(preset("ip", 3), **arguments)  # type: ignore[arg-type]
    assert error.value.field == field


def test_depth_has_a_stated_limit() -> None:
    with pytest.raises(TheoryError, match="at most 1000 hidden layers, not 10000") as error:
        analyze(preset("ip", 10_000))
    assert error.value.field == "hidden_layers"


def test_means_that_are_not_covered_are_refused() -> None:
    ip = preset("ip", 2)
    larger = Parameterization(ip.a, ip.b, ip.phases, mean=(None, Fraction(-1), Fraction(0)))
    with pytest.raises(TheoryError, match="covered are centred weights") as error:
        analyze(larger)
    assert error.value.field == "mean"


def test_odd_activations_with_weights_that_have_a_mean() -> None:
    # x^1 is centred, so h^2 is m^{-1/2}; from there on neurons share a mean and sizes stay.
    result = analyze(preset("ip-non-centered", 4), activation="tanh")
    half = Fraction(-1, 2)
    assert result.steps[0].h == (0, half, half, half)
    assert analyze(preset("ip-non-centered", 4), activation="gelu").steps[0].h == (0, 0, 0, 0)


def test_result_is_a_value_and_json_ready() -> None:
    one, other = analyze(preset("ip-llr", 3)), analyze(preset("ip-llr", 3))
    assert one == other and hash(one) == hash(other)
    data = json.loads(json.dumps(one.to_dict()))
    assert data["regime"] == "feature_learning"
    assert data["steps"][0] == {
        "step": 0,
        "h": ["0", "-1/2", "-1"],
        "h_change": [None, None, None],
        "f": "-3/2",
        "f_change": None,
        "exact": True,
    }
    assert data["features"] == [{"layer": layer, "step": 1} for layer in (1, 2, 3)]
    assert Parameterization.from_dict(data["parameterization"]) == preset("ip-llr", 3)


def test_every_verdict_names_an_inequality_and_a_source() -> None:
    for name in ("ntk", "mup", "sp", "ip", "ip-llr", "up:1/4", "hp"):
        for activation in ("relu", "tanh"):
            result = analyze(preset(name, 3), activation=activation)
            assert result.reason and result.source
            assert str(result.regime).replace("_", " ") in result.summary
            assert bool(result.advice) == (result.regime in {"unstable", "trivial", "measure"})


def test_steps_asked_for_are_all_there() -> None:
    assert [sizes.step for sizes in analyze(preset("mup", 3), steps=7).steps] == list(range(8))


def test_operator_is_the_kernel_of_adam() -> None:
    p = preset("ntk", 3)
    done = complete(p.a, p.b, optimizer="adam").parameterization
    assert analyze(done, optimizer="adam").regime == "operator"


def test_sizes_are_upper_bounds_once_something_grew() -> None:
    # SP with c = 0 at L = 2: f is m^{3/2} after one step; later steps only have bounds.
    result = analyze(preset("sp", 2), steps=3)
    assert [sizes.exact for sizes in result.steps] == [True, True, False, False]
    assert any("upper bounds" in note for note in result.notes)
    # A hidden layer is enough: h^2 grows, while a readout without weight or rate keeps f small.
    hidden = custom(2, a=["0", "0", "9"], b=["0", "0", "0"], c=["0", "0", "0"])
    grown = analyze(hidden, steps=1)
    assert [sizes.exact for sizes in grown.steps] == [True, False]
    assert any("upper bounds" in note for note in grown.notes)


def test_an_odd_activation_that_outgrows_its_start_forgets_it() -> None:
    # SP at L = 3: h^2 is m^{1/2} after one step. tanh's x has no mean, so x_1^2 . x_0^2 falls short of m.
    assert [sizes.exact for sizes in analyze(preset("sp", 3), activation="tanh", steps=2).steps] == [
        True,
        False,
        False,
    ]
    assert analyze(preset("sp", 3), activation="elu", steps=1).steps[1].exact
    assert analyze(preset("mup", 3), activation="tanh", steps=1).steps[1].exact


def test_the_verdict_looks_beyond_the_steps_that_are_shown() -> None:
    slow = custom(3, a=["0", "1/2", "1"], b=["0"] * 3, c=["-1"] * 3, c_first_step=["5"] * 3)
    result = analyze(slow, steps=1)
    assert len(result.steps) == 2
    assert (result.regime, result.settled) == ("feature_learning", True)
    assert result.features[0].step == 2


def test_reasons_name_what_decides() -> None:
    slow = custom(3, a=["0", "1", "1"], b=["0"] * 3, c=["5"] * 3)
    reason = analyze(slow, optimizer="sign").reason
    assert "do not depend on the size of gradients" in reason
    assert "vanish" not in reason
    # Inputs are of fixed dimension: no law of large numbers in the first layer.
    reason = analyze(preset("ip", 3), optimizer="adam").reason
    assert reason.startswith("h^1 is of order m at step 1")
    assert "law of large numbers" not in reason


@pytest.mark.parametrize(
    ("name", "hidden_layers", "source"),
    [
        ("mup", 3, "Yang & Hu, arXiv:2011.14522, section 3"),
        ("mup-yang-hu", 2, "Yang & Hu, arXiv:2011.14522, section 3"),
        ("ip", 4, "Hajjar et al., arXiv:2110.15596 (stationary limit)"),
        ("ip-llr", 4, "Hajjar et al., arXiv:2110.15596 (large first rates)"),
        ("ip", 2, "ours"),
        ("ip-bias", 3, "ours"),
        ("ip-non-centered", 3, "ours"),
        ("hp", 3, "ours"),
    ],
)
def test_sources_are_those_of_the_rule(name: str, hidden_layers: int, source: str) -> None:
    assert analyze(preset(name, hidden_layers)).source.startswith(source)


def test_what_vanishes_otherwise_is_not_credited_to_papers() -> None:
    assert analyze(preset("ip", 3), activation="relu^2").source.startswith("ours")
    assert analyze(custom(3, a=["0", "2", "1"], b=["0"] * 3, c=["0"] * 3)).source.startswith("ours")


def test_results_print_as_text() -> None:
    lines = str(analyze(preset("ip", 3))).splitlines()
    assert lines[0] == "3 hidden layers, sgd, relu, cross_entropy"
    assert any(line.startswith("0       | 0  -1/2  -1 |") for line in lines)
    assert any(line.startswith("trivial: ") for line in lines)
    ip = preset("ip", 3)
    text = str(complete(ip.a, ip.b))
    assert str(preset("ip-llr", 3)) in text
    assert "r = 0" in text


def test_steps_left_out_are_covered_by_the_row_before() -> None:
    naive, llr = preset("ip", 3), preset("ip-llr", 3)
    late = Parameterization(naive.a, naive.b, (*naive.phases, RatePhase(1000, llr.c_at(0))))
    rows = [line.split("|")[0].strip() for line in str(analyze(late)).splitlines()]
    assert "1..1000" in rows
