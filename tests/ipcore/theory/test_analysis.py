"""What `analyze` accepts, refuses and returns."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from ipcore.theory import Parameterization, TheoryError, analyze, complete, preset


@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        ({"activation": "geluu"}, "activation", "did you mean 'gelu'"),
        ({"activation": "relu^1/2"}, "activation", "at least 1"),
        ({"optimizer": "adamm"}, "optimizer", "did you mean 'adam'"),
        ({"optimizer": "muon"}, "optimizer", "covered: sgd, momentum, adam, sign"),
        ({"loss": "hinge"}, "loss", "covered: cross_entropy, logistic, mse"),
        ({"steps": 0}, "steps", "at least 1"),
        ({"steps": 10**9}, "steps", "at most 33333"),
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
