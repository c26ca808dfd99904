"""Sizes of texts and lists, unknown fields and NUL, wherever they are in a request."""

from hypothesis import given
from hypothesis import strategies as st

from iplab.v1 import experiment_service_pb2, run_service_pb2, spec_pb2
from ipserver.request.budget import LONGEST_LIST, LONGEST_TEXT, MOST_PROBLEMS, budget_problems


def _fields(message):
    return {problem.field: problem.message for problem in budget_problems(message)}


def test_an_ordinary_request_has_no_problems():
    request = experiment_service_pb2.CreateExperimentRequest(experiment_id="e")
    request.experiment.labels["owner"] = "x"
    request.experiment.spec.grid.seeds.extend(range(5000))  # the field's rule allows more than usual
    request.experiment.spec.grid.parameterizations.add(preset="mup")
    assert _fields(request) == {}


def test_every_text_that_is_too_long_or_holds_nul_is_named():
    request = experiment_service_pb2.CreateExperimentRequest(experiment_id="x" * (LONGEST_TEXT + 1))
    request.experiment.labels["key"] = "a\0b"
    request.experiment.spec.grid.parameterizations.add(preset="\0")
    request.experiment.spec.grid.parameterizations.add().exponents.a.extend(["0", "1" * 2000])
    request.experiment.spec.grid.activations.append("r" * 5000)
    assert _fields(request) == {
        "experiment_id": "has 1,001 characters; at most 1,000 are allowed",
        "experiment.labels['key']": "holds a NUL character; remove it",
        "experiment.spec.grid.parameterizations[0].preset": "holds a NUL character; remove it",
        "experiment.spec.grid.parameterizations[1].exponents.a[1]": (
            "has 2,000 characters; at most 1,000 are allowed"
        ),
        "experiment.spec.grid.activations[0]": "has 5,000 characters; at most 1,000 are allowed",
    }


def test_rules_of_fields_move_the_bounds():
    request = run_service_pb2.QueryMetricsRequest(filter="x" * 4000, metrics=["loss"] * 201)
    assert _fields(request) == {"metrics": "has 201 entries; at most 200 are allowed"}
    assert _fields(run_service_pb2.QueryMetricsRequest(filter="x" * 4001)) == {
        "filter": "has 4,001 characters; at most 4,000 are allowed"
    }
    grid = spec_pb2.Grid(widths=range(1, LONGEST_LIST + 2))
    assert _fields(grid) == {"widths": "has 2,001 entries; at most 2,000 are allowed"}


def test_unknown_fields_are_named_by_number_and_place():
    known = experiment_service_pb2.CreateExperimentRequest(experiment_id="e").SerializeToString()
    spec = spec_pb2.ExperimentSpec(dataset="digits").SerializeToString() + b"\xf8\x3e\x07"  # field 1007
    request = experiment_service_pb2.CreateExperimentRequest.FromString(known + b"\xfa\x7f\x01x")  # 2047
    request.experiment.spec.MergeFromString(spec)
    found = _fields(request)
    assert set(found) == {"field 2047", "experiment.spec.field 1007"}
    assert "iplab.v1.ExperimentSpec has no field of this number" in found["experiment.spec.field 1007"]


@given(st.integers(MOST_PROBLEMS, 3 * MOST_PROBLEMS))
def test_a_request_with_many_wrong_fields_is_told_of_the_first(many):
    grid = spec_pb2.Grid(activations=["\0"] * many)
    found = list(_fields(grid))
    assert found == [f"activations[{i}]" for i in range(MOST_PROBLEMS)]
