"""The grid expands in a fixed order, and each run becomes a configuration for training."""

from fractions import Fraction

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from ipcore import theory
from ipcore.config import Calibration, OptimizerSettings, PackConfig, Probes, RunConfig, Schedule
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import custom, exponents, pack_config, resource_request, run_config
from ipserver.request.defaults import spec_hash, with_defaults
from ipserver.request.expand import count_runs, expand
from ipserver.request.resources import ResourceRequest
from ipserver.store.records.runs import NewRun


def spec_of(**grid):
    return with_defaults(
        json_format.ParseDict(
            {"dataset": "digits", "batchSize": 32, "steps": 5, "grid": grid}, pb.ExperimentSpec()
        )
    )


TWO = spec_of(
    hidden_layers=[2, 3],
    widths=[8, 16],
    activations=["relu"],
    parameterizations=[{"preset": "ip"}, {"preset": "mup", "base_learning_rates": [0.5]}],
    base_learning_rates=[0.1, 0.2],
    seeds=[7, 8],
)


def test_the_order_by_hand():
    runs = expand(TWO)
    points = [
        (run.hidden_layers, run.width, run.parameterization, run.base_learning_rate, run.seed) for run in runs
    ]
    assert points[:7] == [
        (2, 8, "ip", 0.1, 7),
        (2, 8, "ip", 0.1, 8),
        (2, 8, "ip", 0.2, 7),
        (2, 8, "ip", 0.2, 8),
        (2, 8, "mup", 0.5, 7),
        (2, 8, "mup", 0.5, 8),
        (2, 16, "ip", 0.1, 7),
    ]
    assert points[12] == (3, 8, "ip", 0.1, 7)
    assert [run.index for run in runs] == list(range(24))
    assert count_runs(TWO.grid) == 24


axis = st.lists(st.integers(1, 50), min_size=1, max_size=3, unique=True)


@given(axis, axis, axis, st.lists(st.lists(st.floats(0.1, 1), max_size=2), min_size=1, max_size=3))
def test_the_number_of_runs_is_known_before_they_are_expanded(widths, depths, seeds, own_rates):
    entries = [{"preset": "ip", "label": f"p{i}", "base_learning_rates": r} for i, r in enumerate(own_rates)]
    spec = spec_of(
        widths=widths,
        hidden_layers=depths,
        seeds=seeds,
        activations=["relu", "tanh"],
        parameterizations=entries,
        base_learning_rates=[0.1, 0.2],
    )
    runs = expand(spec)
    assert len(runs) == count_runs(spec.grid)
    assert len(set(runs)) == len(runs)
    assert runs == expand(spec)


def test_defaults_are_written_out():
    spec = with_defaults(pb.ExperimentSpec())
    assert (spec.loss, spec.bias, spec.optimizer.name) == ("cross_entropy", "first", "sgd")
    assert (spec.record.metrics_interval, spec.record.weights, spec.record.weights_interval) == (
        10,
        "final",
        0,
    )
    assert (spec.resources.cpus, spec.resources.gpus) == (1.0, 0.0)
    calibrated = spec_of(parameterizations=[{"preset": "ip-llr", "calibration": {"cap": 500}}])
    (entry,) = calibrated.grid.parameterizations
    assert (entry.label, entry.calibration.readout_target, entry.calibration.cap) == ("ip-llr", 1.0, 500.0)


def test_a_default_written_out_changes_no_hash_and_a_value_does():
    short = pb.ExperimentSpec(dataset="digits")
    written = pb.ExperimentSpec(dataset="digits", loss="cross_entropy", record=pb.Recording(weights="final"))
    assert spec_hash(with_defaults(short)) == spec_hash(with_defaults(written))
    assert spec_hash(with_defaults(short)) != spec_hash(with_defaults(pb.ExperimentSpec(dataset="mnist")))
    assert with_defaults(with_defaults(TWO)) == with_defaults(TWO)


def test_a_spec_of_before_there_were_optimizers_keeps_its_hash():
    entries = [
        {"preset": "ip-llr", "calibration": {}},
        {"label": "mine", "exponents": {"a": ["0", "1/2", "1"], "b": ["0"] * 3, "c": ["-1"] * 3}},
    ]
    old = spec_of(
        parameterizations=entries,
        widths=[16],
        hidden_layers=[2],
        activations=["relu"],
        base_learning_rates=[0.1],
        seeds=[0],
    )
    old.steps = 20
    # Recorded with the code before momentum, Adam, schedules, validation sets and probes.
    assert spec_hash(old) == "de74c42a7cde601cc47abe1603cab7d127d20974a08dc3c91c5505a6be10ac15"


def test_everything_that_trains():
    given = {
        "optimizer": {"name": "adamw", "beta1": 0.5, "weight_decay": 0.01},
        "schedule": {"name": "cosine", "warmup_steps": 2, "final_fraction": 0.1},
        "validation_size": 100,
        "record": {"probes": {"quantities": ["ranks"], "layers": [2], "steps": [0, 3], "interval": 5}},
        "grid": {
            "hidden_layers": [2],
            "widths": [8],
            "activations": ["tanh"],
            "seeds": [3],
            "base_learning_rates": [0.1],
            "parameterizations": [
                {"label": "mine", "exponents": {"a": ["0"] * 3, "b": ["0"] * 3, "c": ["0"] * 3}}
            ],
        },
    }
    given |= {"dataset": "digits", "batch_size": 32, "steps": 5}
    spec = with_defaults(json_format.ParseDict(given, pb.ExperimentSpec()))
    (run,) = expand(spec)
    # With Adam, missing exponents of epsilon mean that it does not change with the width.
    zeros = [0] * 3
    settings = OptimizerSettings(beta1=0.5, beta2=0.999, epsilon=1e-8, weight_decay=0.01)
    same = theory.custom(2, zeros, zeros, zeros, d=zeros)
    assert run_config(spec, run) == RunConfig(same, 0.1, 3, settings=settings)
    assert pack_config(spec, run) == PackConfig(
        "digits",
        2,
        8,
        "tanh",
        batch_size=32,
        steps=5,
        optimizer="adamw",
        validation_size=100,
        schedule=Schedule("cosine", 2, 0.1),
        probes=Probes(("ranks",), (2,), (0, 3), 5, 64),
    )


def test_what_a_schedule_does_not_use_is_as_in_a_schedule_by_hand():
    spec = spec_of(hidden_layers=[1])
    run = NewRun(1, 8, "relu", index=0, parameterization="ip", base_learning_rate=0.1, seed=0)
    spec.schedule.CopyFrom(pb.Schedule(name="linear", warmup_steps=3))
    assert pack_config(with_defaults(spec), run).schedule == Schedule("linear", 3)
    spec.schedule.CopyFrom(pb.Schedule(name="step", milestones=[1, 4]))
    assert pack_config(with_defaults(spec), run).schedule == Schedule("step", milestones=(1, 4), decay=0.1)


def test_presets_have_other_exponents_with_adam():
    spec = spec_of(
        hidden_layers=[2],
        widths=[8],
        activations=["tanh"],
        seeds=[0],
        base_learning_rates=[0.1],
        parameterizations=[{"preset": "mup"}],
    )
    families = {"sgd": "sgd", "momentum": "sgd", "adam": "adam", "adamw": "adam", "lion": "sign"}
    for name, family in {**families, "signum": "sign", "muon-rms": "muon-rms"}.items():
        spec.optimizer.Clear()
        spec.optimizer.name = name
        filled = with_defaults(spec)
        found = run_config(filled, expand(filled)[0]).parameterization
        assert found == theory.preset("mup", 2, optimizer=family)


def test_what_trains():
    spec = spec_of(
        hidden_layers=[2],
        widths=[8],
        activations=["tanh"],
        seeds=[3],
        base_learning_rates=[0.1],
        parameterizations=[
            {
                "label": "mine",
                "exponents": {"a": ["0", "0.5", "1"], "b": ["0", "0", "0"], "c": ["-1", "-1", "-1"]},
                "calibration": {},
            }
        ],
    )
    (run,) = expand(spec)
    half, one = Fraction(1, 2), Fraction(1)
    same = theory.custom(2, [0 * one, half, one], [0 * one] * 3, [-one] * 3)
    assert run_config(spec, run) == RunConfig(same, 0.1, 3, Calibration(1.0, 1000.0))
    assert pack_config(spec, run) == PackConfig("digits", 2, 8, "tanh", batch_size=32, steps=5)
    assert resource_request(spec) == ResourceRequest(1.0, 0.0, {})


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_exponents_written_out_read_back_as_the_same_parameterization(depth):
    for optimizer, names in {
        "sgd": ("sp", "ntk", "mup", "ip", "ip-llr"),
        "adam": ("sp", "mup", "ip"),
    }.items():
        for name in names:
            value = theory.preset(name, depth, optimizer=optimizer)
            assert custom(exponents(value), depth, optimizer) == value


def test_labels_of_presets_with_an_argument():
    spec = spec_of(parameterizations=[{"preset": "up:1/4"}, {"preset": "ip"}, {"preset": "ip", "label": "x"}])
    assert [entry.label for entry in spec.grid.parameterizations] == ["up-1-4", "ip", "x"]


@pytest.mark.parametrize(
    ("optimizer", "asked", "layers", "recorded"),
    [
        ("sgd", ["coordinates"], [], ("coordinates", "parts")),
        ("adamw", ["coordinates"], [], ("coordinates", "parts", "gradients")),
        ("adam", ["gradients", "coordinates"], [2], ("gradients", "coordinates", "parts")),
        ("sgd", ["coordinates"], [1], ("coordinates",)),  # the first layer has no parts
        ("adam", ["ranks"], [], ("ranks",)),
    ],
)
def test_coordinates_bring_what_a_check_of_them_needs(optimizer, asked, layers, recorded):
    """The spec, and so its hash, stays as written."""
    written = json_format.ParseDict(
        {"quantities": asked, "layers": layers, "steps": [0, 1]}, pb.ExperimentSpec().record.probes
    )
    spec = pb.ExperimentSpec()
    spec.CopyFrom(TWO)
    spec.optimizer.name = optimizer
    spec.record.probes.CopyFrom(written)
    spec = with_defaults(spec)
    assert list(spec.record.probes.quantities) == asked
    assert pack_config(spec, expand(spec)[0]).probes.quantities == recorded
