"""The watermark of disks: nothing new is accepted, and all else goes on."""

import shutil
import uuid
from collections import namedtuple
from pathlib import Path

import grpc
import pytest

from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1 import run_service_pb2, study_service_pb2_grpc
from ipserver.api.room import Room
from ipserver.errors import QuotaExceeded
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from tests.ipserver.studies.cases import study_request
from tests.ipserver.support import settings_in

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def disks(monkeypatch):
    """Free bytes by folder, in place of the machine's."""
    free = {}
    real = shutil.disk_usage
    monkeypatch.setattr(
        "ipserver.api.room.shutil.disk_usage",
        lambda path: Usage(1000, 0, free[Path(path)]) if Path(path) in free else real(path),
    )
    return free


def test_the_fullest_disk_decides(tmp_path, disks):
    store, artifacts = tmp_path / "store", tmp_path / "artifacts"
    store.mkdir()
    artifacts.mkdir()
    disks |= {store: 100, artifacts: 100}
    room = Room({"store": store, "artifacts": artifacts / "not" / "yet"}, 100)
    room.require()
    disks[artifacts] = 99
    with pytest.raises(
        QuotaExceeded, match="disk of the service's artifacts has 99 bytes free, less than"
    ) as caught:
        room.require()
    assert (caught.value.subject, caught.value.limit) == ("service", "free_bytes")
    Room(room.folders, 0).require()
    Room({}, 1 << 60).require()


def test_settings_name_the_disks_that_are_files_here(tmp_path):
    assert settings_in(tmp_path).disks == {"store": tmp_path, "artifacts": tmp_path / "artifacts"}
    elsewhere = settings_in(tmp_path, store="postgresql+psycopg://u@h/d", artifacts="s3://bucket/prefix")
    assert elsewhere.disks == {}


async def test_nothing_new_is_accepted_and_all_else_goes_on(running, trainer, request_of, tmp_path, disks):
    disks[tmp_path] = 1000
    async with running(room=Room({"store": tmp_path}, 500)) as api:
        once = request_of("e", request_id=str(uuid.uuid4()))
        first = await api.experiments.CreateExperiment(once)
        more = pb.ExtendExperimentRequest(name="experiments/e", seeds=[7], request_id=str(uuid.uuid4()))
        await api.experiments.ExtendExperiment(more)
        trainer.plan("e", (0, 1, 2, 3, 4, 5))
        pack = trainer.lease()
        broke = Failure(FailureReason.TRAINING_ERROR, "it broke")
        api.store.end_attempt("e", pack.id, pack.token, failure=broke, retry=False)

        disks[tmp_path] = 499
        studies = study_service_pb2_grpc.StudyServiceStub(api.channel)
        for call in (
            api.create("f"),
            api.experiments.ExtendExperiment(pb.ExtendExperimentRequest(name="experiments/e", seeds=[9])),
            api.experiments.RetryFailedRuns(pb.RetryFailedRunsRequest(name="experiments/e")),
            api.runs.RetryRun(run_service_pb2.RetryRunRequest(name="experiments/e/runs/r00000")),
            studies.CreateStudy(study_request()),
        ):
            failed = await api.fails(call)
            assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
            assert "499 bytes free" in failed.message
        assert [one.id for one in api.store.list_experiments(limit=9)] == ["e"]

        assert (await api.experiments.CreateExperiment(once)).uid == first.uid, "accepted before"
        assert (await api.experiments.ExtendExperiment(more)).counts.total == 6
        assert (await api.create("f", validate_only=True)).counts.total == 4
        assert (await studies.CreateStudy(study_request(validate_only=True))).spec.base.steps == 2
        await api.experiments.DeleteExperiment(pb.DeleteExperimentRequest(name="experiments/e"))

        disks[tmp_path] = 500
        assert (await api.create("f")).name == "experiments/f"
