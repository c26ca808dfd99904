"""The parameters that MLflow gets for a run."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ipserver.forward.params import fitting, run_params
from ipserver.request.expand import expand
from tests.ipserver.support import small_spec


def params(preset: str, **changes: Any) -> dict[str, str]:
    spec = small_spec(grid={"parameterizations": [{"preset": preset}], "seeds": [0]}, **changes)
    (run,) = expand(spec)
    return run_params(spec, run)


def test_plain_gradient_descent_has_nothing_beyond_itself() -> None:
    told = params("ip-llr")
    assert told["c_from_step_0"] == "-3/2 -2 -3/2"
    assert (told["optimizer"], told["weight_decay"]) == ("sgd", "0.0")
    assert not {"beta1", "momentum", "schedule", "validation_size", "probes", "bias_a", "mean"} & set(told)


def test_everything_that_changes_the_numbers_is_there() -> None:
    told = params(
        "mup",
        optimizer={"name": "adamw", "epsilon": 0, "weight_decay": 0.1},
        schedule={"name": "step", "milestones": [5, 10], "warmup_steps": 2},
        validation_size=100,
        record={"probes": {"quantities": ["ranks", "kernels"], "steps": [0, 3], "layers": [1]}},
    )
    # muP with Adam (arXiv:2308.01814): c_l = 1(l > 1) - a_l, d_l = a_l + 1 below the readout.
    assert (told["c_from_step_0"], told["d_from_step_0"]) == ("0 1/2 0", "1 3/2 1")
    assert {name: told[name] for name in ("beta1", "beta2", "epsilon", "weight_decay")} == {
        "beta1": "0.9",
        "beta2": "0.999",
        "epsilon": "0.0",
        "weight_decay": "0.1",
    }
    assert told["schedule"] == "step warmup_steps=2 milestones=5,10 decay=0.1"
    assert told["validation_size"] == "100"
    assert told["probes"] == "quantities=ranks,kernels layers=1 steps=0,3 examples=64"


def test_what_presets_have_beyond_a_b_and_c() -> None:
    biases = params("ip-bias")
    assert (biases["bias_a"], biases["bias_b"]) == ("0 0 0", "0 0 0")
    assert biases["bias_c_from_step_0"] == "-3/2 -1 0"
    assert params("ip-non-centered")["mean"] == "centred 0 0"
    assert params("hp")["k_from_step_1"] == "0 1/2 0"
    assert params("hpz")["k_from_step_1"] == "0 removed 0"


def test_numbers_are_told_exactly() -> None:
    target = 0.1234567890123
    told = params("ip-llr", schedule={"name": "cosine", "final_fraction": target})
    assert told["schedule"] == "cosine final_fraction=0.1234567890123"
    spec = small_spec(
        grid={
            "parameterizations": [{"preset": "ip-llr", "calibration": {"readout_target": target}}],
            "seeds": [0],
        }
    )
    assert f"readout_target={target!r} " in run_params(spec, expand(spec)[0])["calibration"]


def test_a_deep_network_has_every_exponent_in_full() -> None:
    """12,000 characters. MLflow would keep 6,000 and cut an exponent."""
    layers = 600
    exponents = [f"-{100_000_000 + index}/999999937" for index in range(layers + 1)]
    custom = {"label": "deep", "exponents": {"a": exponents, "b": exponents, "c": exponents}}
    spec = small_spec(grid={"parameterizations": [custom], "hidden_layers": [layers], "seeds": [0]})
    (run,) = expand(spec)

    told = run_params(spec, run)

    assert all(len(value) <= 6000 for value in told.values())
    parts = [told["a"], *(told[f"a.{n}"] for n in range(2, 10) if f"a.{n}" in told)]
    assert len(parts) > 1
    assert [part.endswith(" ...") for part in parts] == [True] * (len(parts) - 1) + [False]
    shown = " ".join(part.removesuffix(" ...") for part in parts).split()
    assert [Fraction(text) for text in shown] == [Fraction(text) for text in exponents]


@given(st.lists(st.text("0123456789/-", min_size=1, max_size=12), max_size=60), st.integers(20, 60))
def test_no_element_is_ever_cut(elements: list[str], longest: int) -> None:
    found = dict(fitting("a", " ".join(elements), longest))
    assert all(len(part) <= longest for part in found.values())
    assert " ".join(part.removesuffix(" ...") for part in found.values()) == " ".join(elements)
    assert list(found) == ["a", *(f"a.{n}" for n in range(2, len(found) + 1))]


def test_an_element_that_fits_nowhere_says_so() -> None:
    assert list(fitting("a", f"1/2 {'7' * 100} 1/3", longest=50)) == [
        ("a", "1/2 ..."),
        ("a.2", "(100 characters: see spec.json) ..."),
        ("a.3", "1/3"),
    ]
    assert list(fitting("a", "7" * 100, longest=50)) == [("a", "(100 characters: see spec.json)")]
