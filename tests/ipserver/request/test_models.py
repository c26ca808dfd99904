"""Specs of models other than the multilayer perceptron: rules, defaults, expansion."""

import pytest

from ipcore.models import MLP, Mlp, ResidualMlp
from ipcore.theory import Regime
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import pack_config, run_config
from ipserver.request.defaults import spec_hash, with_defaults
from ipserver.request.limits import limits_with
from ipserver.request.models import model_of
from ipserver.request.predict import predictions
from ipserver.request.validate import check_create
from tests.ipserver.request.requests import CAPACITY, spec, violations

MODEL = "experiment.spec.model"
# Their exponents do not depend on the depth.
PRESETS = {"grid__parameterizations": [{"preset": "mup", "calibration": {}}, {"preset": "sp"}]}


def accepted(**changes):
    return check_create(spec(**PRESETS | changes), limits_with(), CAPACITY)


def test_a_model_is_named_with_all_its_settings():
    assert accepted(model={"name": "residual-mlp"}).spec.model == pb.Model(
        name="residual-mlp", branch_multiplier="depth^-1/2", block_matrices=1
    )
    given = {"name": "residual-mlp", "branch_multiplier": "1", "block_matrices": 2}
    assert model_of(accepted(model=given).spec) == ResidualMlp("1", 2)


def test_a_normalization_is_stored_where_it_is_given():
    """Left out it stays out: specs of before it existed keep their hash."""
    plain, normalized = (
        accepted(model={"name": "mlp"} | more).spec for more in ({}, {"normalization": "rms"})
    )
    assert plain.model == pb.Model(name="mlp")
    assert model_of(plain) == MLP
    assert model_of(normalized) == Mlp("rms")
    given = {"name": "residual-mlp", "normalization": "rms"}
    assert model_of(accepted(model=given).spec) == ResidualMlp(normalization="rms")


def test_specs_without_a_model_keep_their_hash():
    checked = accepted()
    assert not checked.spec.HasField("model")
    assert model_of(checked.spec) == MLP
    assert checked.spec_hash == spec_hash(with_defaults(checked.spec))


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ({"name": "residual"}, {"name": "did you mean 'residual-mlp'"}),
        ({"block_matrices": 2}, {"block_matrices": "unknown setting of mlp"}),
        ({"name": "mlp", "branch_multiplier": "1"}, {"branch_multiplier": "unknown setting of mlp"}),
        (
            {"name": "residual-mlp", "branch_multiplier": "L^-1", "block_matrices": 0},
            {"branch_multiplier": "must be one of 'depth^-1/2', 'depth^-1', '1'", "block_matrices": "not 0"},
        ),
        ({"name": "mlp", "normalization": "batch"}, {"normalization": "must be one of 'none', 'rms'"}),
    ],
)
def test_wrong_models_are_named_and_the_rest_is_checked_too(model, wrong):
    found = violations(spec(model=model, batch_size=0, **PRESETS))
    assert set(found) == {"experiment.spec.batch_size", *(f"{MODEL}.{name}" for name in wrong)}
    for name, text in wrong.items():
        assert text in found[f"{MODEL}.{name}"]


@pytest.mark.parametrize(("matrices", "layers"), [(1, 4), (2, 6)])
def test_runs_have_an_exponent_for_every_matrix(matrices: int, layers: int):
    checked = accepted(model={"name": "residual-mlp", "block_matrices": matrices})
    run = next(run for run in checked.runs if run.hidden_layers == 2)
    config = pack_config(checked.spec, run)
    assert (config.hidden_layers, config.layers) == (2, layers)
    assert config.model == ResidualMlp(block_matrices=matrices)
    assert run_config(checked.spec, run).parameterization.hidden_layers == layers - 1


def test_lists_are_as_long_as_there_are_matrices():
    def lists(entries: int):
        exponents = {name: ["0"] * entries for name in "abc"}
        return {"grid__parameterizations": [{"label": "mine", "exponents": exponents}]}

    residual = {"model": {"name": "residual-mlp"}, "grid__hidden_layers": [4]}
    for entries in (3, 6):
        check_create(spec(**residual, **lists(entries)), limits_with(), CAPACITY)
    found = violations(spec(**residual, **lists(5)))
    assert set(found) == {f"experiment.spec.grid.parameterizations[0].exponents.{name}" for name in "abc"}
    assert "a residual-mlp with 4 hidden layers has 6 weight matrices" in next(iter(found.values()))


def test_probes_may_look_at_every_matrix():
    def probes(layer: int):
        return {"record": {"probes": {"quantities": ["coordinates"], "steps": [0], "layers": [layer]}}}

    residual = {"model": {"name": "residual-mlp", "block_matrices": 2}, "grid__hidden_layers": [2]}
    assert accepted(**residual, **probes(6))
    found = violations(spec(**PRESETS, **residual, **probes(7)))
    assert "there are layers 1..6" in found["experiment.spec.record.probes.layers[0]"]


@pytest.mark.parametrize("matrices", [1, 2])
def test_predictions_count_the_sums_of_blocks(matrices):
    presets = [{"preset": name} for name in ("ip", "mup", "hp")]
    checked = accepted(
        grid__parameterizations=presets, model={"name": "residual-mlp", "block_matrices": matrices}
    )
    by_label = {}
    for found in predictions(checked.spec):
        by_label.setdefault(found.parameterization, set()).add((found.regime, found.summary.split(":")[0]))
    # Naive IP is trivial for perceptrons of such depths; skip connections keep h of order 1.
    moves = {(Regime.FEATURE_LEARNING, "feature learning (every hidden layer from step 1)")}
    assert by_label["ip"] == by_label["mup"] == moves
    assert by_label["hp"] == {(None, "not covered")}


@pytest.mark.parametrize(
    ("multiplier", "said"),
    [
        (
            "depth^-1/2",
            "h changes by order 1, inside a block updates change it by N^(-1/2) (Depth-muP, arXiv:",
        ),
        ("depth^-1", "inside a block updates change it by order 1 too (CompleteP"),
        ("1", "sizes at the start grow like N^(1/2)"),
    ],
)
def test_predictions_say_what_the_depth_does(multiplier, said):
    checked = accepted(model={"name": "residual-mlp", "branch_multiplier": multiplier})
    assert {said in found.summary for found in predictions(checked.spec)} == {True}


def test_memory_is_that_of_the_model():
    limits = limits_with(max_run_memory_bytes=accepted().run_memory_bytes)
    found = violations(spec(**PRESETS, model={"name": "residual-mlp", "block_matrices": 2}), limits)
    assert set(found) == {"experiment.spec.grid.widths[1]"}


@pytest.mark.parametrize("model", [{"name": "mlp"}, {"name": "residual-mlp"}])
def test_predictions_count_a_normalization(model):
    """Naive IP of three hidden layers or blocks is not trivial where preactivations are normalized."""
    more = {
        "grid__parameterizations": [{"preset": "ip"}, {"preset": "hp"}],
        "grid__hidden_layers": [3],
        "grid__activations": ["relu"],
    }
    checked = accepted(**more, model=model | {"normalization": "rms"})
    found = {prediction.parameterization: prediction for prediction in predictions(checked.spec)}
    assert found["ip"].regime is Regime.FEATURE_LEARNING
    assert "normalized preactivations and f stay bounded" in found["ip"].summary
    assert ("Depth-muP" in found["ip"].summary) is (model["name"] == "residual-mlp")
    # Re-weighted matrices are covered but in residual blocks.
    assert found["hp"].regime is (Regime.FEATURE_LEARNING if model["name"] == "mlp" else None)
