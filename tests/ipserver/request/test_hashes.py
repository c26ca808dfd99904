"""Hashes of requests: what is the same request, and what is another one."""

from __future__ import annotations

import pytest

from iplab.v1 import experiment_service_pb2 as experiments
from iplab.v1 import run_service_pb2 as runs
from iplab.v1 import study_service_pb2 as studies
from ipserver.request.hashes import request_hash


def test_request_id_and_validate_only_do_not_count():
    plain = experiments.ExtendExperimentRequest(name="experiments/e", seeds=[1])
    named = experiments.ExtendExperimentRequest(
        name="experiments/e", seeds=[1], request_id="x", validate_only=True
    )
    other = experiments.ExtendExperimentRequest(name="experiments/e", seeds=[2])
    assert request_hash(plain) == request_hash(named) != request_hash(other)


@pytest.mark.parametrize(
    ("request_type", "field"),
    [(experiments.CreateExperimentRequest, "experiment"), (studies.CreateStudyRequest, "study")],
)
def test_no_project_is_the_default_one(request_type, field):
    none, default, other = (request_type() for _ in range(3))
    for request in (none, default, other):
        getattr(request, field).display_name = "mine"
    getattr(default, field).project = "default"
    getattr(other, field).project = "other"
    assert request_hash(none) == request_hash(default) != request_hash(other)
    assert getattr(default, field).project == "default"  # the request itself stays as it is


def test_the_kind_counts_where_several_share_their_ids():
    experiment = experiments.RetryFailedRunsRequest(name="a")
    run = runs.RetryRunRequest(name="a")
    assert request_hash(experiment) == request_hash(run)
    assert request_hash(experiment, with_kind=True) != request_hash(run, with_kind=True)
