"""What MLflow is told of a run's settings."""

from __future__ import annotations

from typing import Any

from ipserver.forward.params import run_params
from ipserver.spec.expand import expand
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
