"""Specs of experiments as they would be submitted again, with changes by path."""

from pathlib import Path

import pytest

from iplab.errors import SpecError
from iplab.specs.changing import spec_of, value_of
from iplab.specs.specfile import load_spec
from iplab.v1.experiment_pb2 import Experiment
from ipserver.request.defaults import with_defaults
from tests.iplab.conftest import small_spec

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


def stored(source):
    """An experiment as a service has it: with all defaults, and fields of its own."""
    message = Experiment()
    message.CopyFrom(load_spec(source))
    message.spec.CopyFrom(with_defaults(message.spec))
    message.name, message.notes, message.spec_hash = "experiments/e", "a note", "abc"
    return message


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_without_changes_the_same_would_be_trained(example):
    before = stored(example)
    again = load_spec(spec_of(before))
    assert with_defaults(again.spec) == before.spec
    assert (again.display_name, again.labels, again.priority) == (
        before.display_name,
        before.labels,
        before.priority,
    )
    assert not again.notes


def test_changes_by_path():
    before = stored(small_spec())
    changed = {
        "steps": 7,
        "spec.batch_size": 16,
        "grid.seeds": [5],
        "grid.parameterizations[1].calibration": None,
        "grid.parameterizations[0].preset": "ntk",
        "labels.team": None,
        "optimizer.name": "adam",
        "display_name": "Other",
    }
    after = load_spec(spec_of(before, changed))
    grid = after.spec.grid
    assert (after.spec.steps, after.spec.batch_size, list(grid.seeds)) == (7, 16, [5])
    assert [entry.preset for entry in grid.parameterizations] == ["ntk", "ip-llr"]
    assert not grid.parameterizations[1].HasField("calibration")
    assert (dict(after.labels), after.display_name, after.spec.optimizer.name) == ({}, "Other", "adam")
    assert list(grid.widths) == [8, 16]
    assert before == stored(small_spec()), "what was there is not touched"


def test_every_path_that_leads_nowhere_is_named():
    with pytest.raises(SpecError) as caught:
        spec_of(stored(small_spec()), {"grid.widths[5]": 1, "steps.x": 1, "a..b": 1, "steps": 3})
    assert {violation.field: violation.message for violation in caught.value.violations} == {
        "grid.widths[5]": "there is no entry [5]; there are 2, counted from 0",
        "steps.x": "what is before 'x' has no fields",
        "a..b": "is not a path; write it as grid.parameterizations[0].preset",
    }


def test_values_are_written_as_in_a_file():
    assert value_of("[64, 128]") == [64, 128]
    assert value_of("{name: adam}") == {"name": "adam"}
    assert value_of(" ") is None
    assert value_of("relu") == "relu"
    with pytest.raises(SpecError):
        value_of("[1, 2")
