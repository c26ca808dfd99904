"""RetryRun and RetryFailedRuns over a real channel."""

import uuid

import grpc
import pytest

from iplab.v1 import experiment_pb2, run_pb2, run_service_pb2
from iplab.v1 import experiment_service_pb2 as pb
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from tests.ipserver.api.conftest import STEPS


@pytest.fixture
async def failed(api, trainer):
    """Four runs, of which 0 to 2 failed after step 5, and 3 succeeded."""
    await api.create("e")
    trainer.plan("e", (0, 1, 2), (3,))
    pack = trainer.lease()
    trainer.commit(pack, 1, 5)
    broke = Failure(FailureReason.TRAINING_ERROR, "it broke")
    api.store.end_attempt("e", pack.id, pack.token, failure=broke, retry=False)
    trainer.commit(trainer.lease(), 1, STEPS)
    return await api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e"))


async def test_failed_runs_are_trained_again(api, trainer, failed):
    assert failed.state == experiment_pb2.EXPERIMENT_STATE_FAILED
    once = str(uuid.uuid4())
    one = run_service_pb2.RetryRunRequest(name="experiments/e/runs/r00001", request_id=once)
    run = await api.runs.RetryRun(one)
    assert (run.state, run.committed_steps, run.HasField("failure")) == (run_pb2.RUN_STATE_QUEUED, 5, False)
    assert (await api.runs.RetryRun(one)).state == run_pb2.RUN_STATE_QUEUED
    rest = pb.RetryFailedRunsRequest(name="experiments/e", request_id=str(uuid.uuid4()))
    again = await api.experiments.RetryFailedRuns(rest)
    assert (again.state, again.counts.queued, again.counts.failed) == (
        experiment_pb2.EXPERIMENT_STATE_RUNNING,
        3,
        0,
    )
    for _ in range(2):
        trainer.commit(trainer.lease(), 6, STEPS)
    done = await api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e"))
    assert (done.state, done.committed_steps) == (experiment_pb2.EXPERIMENT_STATE_SUCCEEDED, 4 * STEPS)
    assert (await api.experiments.RetryFailedRuns(rest)) == done, "a repetition, and nothing has failed"


async def test_what_is_wrong_is_said(api, failed):
    ended = api.runs.RetryRun(run_service_pb2.RetryRunRequest(name="experiments/e/runs/r00003"))
    assert "run 3 is SUCCEEDED" in (await api.fails(ended)).violations["name"]
    no_uuid = pb.RetryFailedRunsRequest(name="experiments/e", request_id="again")
    assert (
        "is not a UUID"
        in (await api.fails(api.experiments.RetryFailedRuns(no_uuid))).violations["request_id"]
    )
    used = str(uuid.uuid4())
    await api.experiments.RetryFailedRuns(pb.RetryFailedRunsRequest(name="experiments/e", request_id=used))
    reused = run_service_pb2.RetryRunRequest(name="experiments/e/runs/r00001", request_id=used)
    failure = await api.fails(api.runs.RetryRun(reused))
    assert (failure.code, failure.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    for name in ("experiments/e/runs/r00009", "experiments/x/runs/r00000"):
        absent = await api.fails(api.runs.RetryRun(run_service_pb2.RetryRunRequest(name=name)))
        assert absent.code is grpc.StatusCode.NOT_FOUND
