"""Fields of specs that are written from declarations of settings (proto/settings.py)."""

import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest

from ipcore.catalogue.rules import Interval
from ipcore.catalogue.settings import settings
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import optimizer_settings

FOLDER = Path(__file__).parents[3] / "proto"


@dataclass
class Declared:
    """As `OptimizerSettings` with one more."""

    dampening: Annotated[float, Interval(0, 1, "[)"), "share of the gradient that is left out"] = 0.25


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("settings_of_protos", FOLDER / "settings.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source():
    return (FOLDER / "iplab" / "v1" / "spec.proto").read_text(encoding="utf-8")


def test_what_is_declared_is_what_is_written(script, source):
    assert script.written(source) == source


def test_a_new_setting_gets_the_next_number_and_is_left_out_of_older_specs(script, source, monkeypatch):
    parts = script.parts()
    before = parts["Optimizer"]
    parts["Optimizer"] = replace(
        before,
        settings={**settings(Declared), **before.settings},  # wherever it is declared, numbers stay
        users={**before.users, "dampening": ["momentum"]},
    )
    monkeypatch.setattr(script, "parts", lambda: parts)
    after = script.written(source)
    comment, field = (line for line in after.splitlines() if line not in source.splitlines())
    assert comment.startswith(
        '  // With "momentum": share of the gradient that is left out. Allowed: at least 0'
    )
    assert field == "  optional double dampening = 8 [(rule).left_out = true];"
    assert set(source.splitlines()) <= set(after.splitlines())
    assert script.written(after) == after


def test_a_setting_that_is_gone_must_leave_its_number_reserved(script, source, monkeypatch):
    parts = script.parts()
    kept = {name: setting for name, setting in parts["Optimizer"].settings.items() if name != "epsilon"}
    parts["Optimizer"] = replace(parts["Optimizer"], settings=kept)
    monkeypatch.setattr(script, "parts", lambda: parts)
    with pytest.raises(ValueError, match=r"Optimizer: epsilon is no setting any more; write `reserved`"):
        script.written(source)
    field = "  optional double epsilon = 5;"
    assert field in source
    written = script.written(source.replace(field, "  reserved 5;"))
    assert "  reserved 5;" in written
    assert "epsilon" not in written.partition("message Optimizer {")[2].partition("}")[0].replace(
        "epsilon m", ""
    )


def test_a_setting_that_a_spec_leaves_out_has_its_default():
    assert optimizer_settings(pb.Optimizer(name="adamw", beta1=0.5)) == {
        "beta1": 0.5,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
    }
    assert optimizer_settings(pb.Optimizer(name="sgd", weight_decay=0.25)) == {"weight_decay": 0.25}
