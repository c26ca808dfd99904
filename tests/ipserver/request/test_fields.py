"""Declarations and options of fields name existing fields, and keep the hashes of stored specs."""

import pytest
from google.protobuf import json_format

from ipcore.catalogue import OPTIMIZERS, Optimizer
from iplab.v1 import experiment_service_pb2, options_pb2
from iplab.v1 import spec_pb2 as pb
from iplab.v1.catalog_service_pb2 import Limits
from ipserver.environment.limit_settings import LIMITS
from ipserver.environment.settings import Settings
from ipserver.request import fields
from ipserver.request.defaults import spec_hash, with_defaults
from ipserver.request.limits import limits_with
from tests.ipserver.request.requests import changed, spec, violations

GRID = {
    "parameterizations": [
        {"preset": "ip-llr", "calibration": {}},
        {"preset": "up:1/4", "base_learning_rates": [0.5]},
        {"label": "mine", "exponents": {"a": ["0", "1/2", "1"], "b": ["0"] * 3, "c": ["-1"] * 3}},
    ],
    "widths": [16, 32],
    "hidden_layers": [2],
    "activations": ["relu", "relu^2"],
    "base_learning_rates": [0.1],
    "seeds": [0, 1],
}
SPEC = {"dataset": "digits", "batch_size": 32, "steps": 20, "grid": GRID}
CHANGES = {
    "plain": {},
    "family": {"dataset": "parity:k=3", "loss": "logistic", "bias": "none", "precision": "bf16"},
    "momentum": {"optimizer": {"name": "momentum"}},
    "adam": {"optimizer": {"name": "adam", "epsilon": 0}},
    "adamw": {"optimizer": {"name": "adamw", "weight_decay": 0.01, "beta1": 0.5}},
    "decay of nothing": {"optimizer": {"weight_decay": 0}},
    "unknown optimizer": {"optimizer": {"name": "shampoo", "beta1": 0.5}},
    "constant": {"schedule": {}},
    "linear": {"schedule": {"name": "linear", "warmup_steps": 3}},
    "step": {"schedule": {"name": "step", "milestones": [5]}},
    "validation": {"validation_size": 100, "evaluation_interval": 5},
    "record": {"record": {"weights": "every", "weights_interval": 5, "metrics_interval": 2}},
    "probes": {"record": {"probes": {"quantities": ["ranks"], "interval": 5}}},
    "resources": {"resources": {"cpus": 2, "custom": {"tpu": 1}}},
    "empty parts": {"record": {}, "resources": {}, "optimizer": {}},
}
# Computed with the code that named every default by hand.
HASHES = {
    "plain": "f9e0b62b9e4bf26e4c916e77b830d1e80d3dfed6ce6e6fed7e2e51b2d007b92c",
    "family": "7227975e852822a634fd4ebcfb84841bc46825ec845f12f4fed42b3e3a744f27",
    "momentum": "c6837abe6a0d10d2e112af4d2aa7fd7f14035d9595ccb5dbb0d09690b8bec3bc",
    "adam": "c73a7c39643dc18bc55cec50d9a50ebbc0a1915aa7ae8d8bfb70c178631e56fe",
    "adamw": "ef9feb58280b3dd3d5f725149d24b627b437e3a3de0bf899d2bcbec4fa439cfc",
    "decay of nothing": "96ef2d91e9662aa05d875b2b7b19fa5fc91b1ac6442f8bb9f3c9fa9343aa1246",
    "unknown optimizer": "a1a926ab36febe37b816b23d4a1e66fee513199a176fc4e7215dce51985e0504",
    "constant": "2a9fbe71817b2bcdd69ab3fb99167fb9b909c948c1497dd9331689c39d2f8d07",
    "linear": "b23a91decfcac1c858be4d5b89fa91d4678a327ae935055d018a2788f68aa6b0",
    "step": "1073639b7c40855016a7ca4f5d72df96b6e7770216e964a44e7178db306e7a44",
    "validation": "8e7d52720d970b3592e653fcbd72f50bfd7d65adaae26cdfb350b5899a23f6ee",
    "record": "0dbb6839aea2244fa8b530128fc788966fdfb2848871ae73f85c747a45c30aee",
    "probes": "409731f94677ff318e2dba303d1e0d8192c5a8e48c511b031555821c7a2c2631",
    "resources": "6bc11e6ee458250e7661b146f1748d6f425f1609411e7e0d023ab361a53a59ea",
    "empty parts": "f9e0b62b9e4bf26e4c916e77b830d1e80d3dfed6ce6e6fed7e2e51b2d007b92c",
}


@pytest.mark.parametrize("change", CHANGES)
def test_specs_keep_the_hashes_that_they_were_stored_with(change):
    given = json_format.ParseDict({**SPEC, **CHANGES[change]}, pb.ExperimentSpec())
    filled = with_defaults(given)
    assert spec_hash(filled) == HASHES[change]
    assert with_defaults(filled) == filled


def test_declarations_and_bounds_name_fields_that_exist():
    messages = {message.name: message for message in pb.DESCRIPTOR.message_types_by_name.values()}
    places = [place for field in Limits.DESCRIPTOR.fields for place in fields.rule_of(field).bounds]
    assert places
    for place in [*places, *fields._ELSEWHERE]:
        message, _, name = place.partition(".")
        assert fields.setting_of(messages[message].fields_by_name[name]) is not None, place
    for name in fields._DECLARED:
        assert [f for f in messages[name].fields if fields.setting_of(f)], name


def test_limits_are_settings_of_the_service():
    assert limits_with() == Limits(**{name: Settings.model_fields[name].default for name in LIMITS})
    assert all(Settings.model_fields[name].description for name in LIMITS)
    assert limits_with(max_steps=7).max_steps == 7
    with pytest.raises(ValueError, match="max_stepps"):
        limits_with(max_stepps=7)


def test_what_belongs_to_requests_is_checked_by_its_option():
    found = violations(changed(experiment__priority=1001, experiment__display_name="x" * 201))
    assert found == {
        "experiment.priority": "must lie in -1,000 .. 1,000, not 1001",
        "experiment.display_name": "has 201 characters; at most 200 are allowed",
    }
    rule = experiment_service_pb2.CreateExperimentRequest.DESCRIPTOR.fields_by_name["experiment"].message_type
    assert rule.fields_by_name["priority"].GetOptions().Extensions[options_pb2.rule].most == 1000


def test_a_limit_bounds_its_fields_and_the_declaration_bounds_them_from_below():
    for path, field in (("steps", "steps"), ("record__metrics_interval", "record.metrics_interval")):
        found = violations(spec(**{path: 10_000_001}))
        assert found[f"experiment.spec.{field}"] == "must lie in 1 .. 10,000,000, not 10000001"


def test_an_entry_without_settings_takes_none(monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "plain", Optimizer("plain", "made up", "none:none", (), ""))
    given = {"name": "plain", "momentum": 0.5}
    found = violations(spec(optimizer=given, batch_size=0))
    assert found["experiment.spec.optimizer.momentum"].startswith("is not used by 'plain' but by momentum")
