"""A valid request, and changes that make it wrong."""

import copy

import pytest
from google.protobuf import json_format

from iplab.v1 import experiment_service_pb2 as pb
from ipserver.errors import InvalidRequest
from ipserver.request.limits import limits_with
from ipserver.request.validate import check_create
from ipserver.store.records.cluster import CapacityReport, DatasetReport

GOOD = {
    "experiment_id": "first-try",
    "request_id": "123e4567-e89b-42d3-a456-426614174000",
    "experiment": {
        "display_name": "First try",
        "labels": {"team": "theory"},
        "priority": 5,
        "spec": {
            "dataset": "digits",
            "batch_size": 32,
            "steps": 20,
            "grid": {
                "parameterizations": [
                    {"preset": "ip-llr", "calibration": {}},
                    {
                        "label": "mine",
                        "exponents": {"a": ["0", "1/2", "1"], "b": ["0", "0", "0"], "c": ["-1", "-1", "-1"]},
                    },
                ],
                "widths": [16, 32],
                "hidden_layers": [2, 4],
                "activations": ["relu", "tanh"],
                "base_learning_rates": [0.1, 0.2],
                "seeds": [0, 1],
            },
        },
    },
}
CAPACITY = CapacityReport(
    {"cpus": 4.0, "gpus": 0.0}, (DatasetReport("digits", ""), DatasetReport("mnist", ""))
)
GRID = "experiment.spec.grid"


def changed(**changes):
    """GOOD with values replaced at dotted paths (`__` stands for a dot, numbers index lists)."""
    tree = copy.deepcopy(GOOD)
    for path, value in changes.items():
        node = tree
        *parents, last = [int(part) if part.isdigit() else part for part in path.split("__")]
        for part in parents:
            node = node.setdefault(part, {}) if isinstance(node, dict) else node[part]
        node[last] = value
    return json_format.ParseDict(tree, pb.CreateExperimentRequest())


def spec(**changes):
    return changed(**{f"experiment__spec__{path}": value for path, value in changes.items()})


def grid(**changes):
    return spec(**{f"grid__{path}": value for path, value in changes.items()})


def violations(request, limits=limits_with(), capacity=CAPACITY):  # noqa: B008 - frozen
    with pytest.raises(InvalidRequest) as caught:
        check_create(request, limits, capacity)
    return {violation.field: violation.message for violation in caught.value.violations}
