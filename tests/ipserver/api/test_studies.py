"""StudyService over a real channel."""

import asyncio
import uuid

import grpc
import pytest
from grpc import aio

from iplab.v1 import study_pb2, study_service_pb2_grpc
from iplab.v1 import study_service_pb2 as pb
from ipserver.store.records.studies import StudyOutcome
from ipserver.store.states import StudyState
from tests.ipserver.studies.cases import driver, study_request

ANSWER = {
    "subject": "ntk (relu, 2 hidden layers)",
    "verdict": "AGREES",
    "sentence": "it agrees",
    "cells": [
        {
            "name": "f at step 0",
            "verdict": "AGREES",
            "value": 0.1,
            "low": 0.0,
            "predicted_low": 0.0,
            "predicted_high": 0.0,
            "tolerance": 0.2,
            "widths": [8, 16],
            "seeds": 4,
            "sentence": "it agrees",
            "why": "",
            "layer": 3,
            "step": 0,
            "unit": "slope",
            "need": {"runs": 7, "widths": [8]},
        }
    ],
}


@pytest.fixture
def stub(api):
    return study_service_pb2_grpc.StudyServiceStub(api.channel)


def finish(store, name="s"):
    (held,) = store.lease_studies("tester", 60)
    outcome = StudyOutcome("AGREES", "DECIDED", "it agrees", (ANSWER,), 3.0)
    store.finish_study(name, held.token, StudyState.SUCCEEDED, outcome)


async def test_a_study_is_created_once_and_read(api, stub):
    request = study_request(request_id=str(uuid.uuid4()), study={"display_name": "A question"})
    created = await stub.CreateStudy(request)
    assert created.name == "studies/s"
    assert (created.state, created.verdict) == (study_pb2.STUDY_STATE_RUNNING, 0)
    assert created.spec.error_rate == 0.05
    again = await stub.CreateStudy(request)
    assert again.uid == created.uid
    assert (await stub.GetStudy(pb.GetStudyRequest(name="studies/s"))).display_name == "A question"
    failed = await api.fails(stub.CreateStudy(study_request(spec={"tolerance": 0.2})))
    assert failed.code is grpc.StatusCode.ALREADY_EXISTS
    failed = await api.fails(stub.CreateStudy(study_request(spec={"tolerance": -1})))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(failed.violations) == {"study.spec.tolerance"}
    named = await stub.CreateStudy(study_request(""))
    assert named.name.startswith("studies/coordinate-check-")


async def test_a_preview_creates_nothing(api, stub):
    seen = await stub.CreateStudy(study_request(validate_only=True))
    assert (seen.name, seen.spec.base.optimizer.name, seen.uid) == ("studies/s", "sgd", "")
    assert (await stub.ListStudies(pb.ListStudiesRequest())).studies == []


async def test_pages(api, stub):
    for name in ("a", "b", "c"):
        await stub.CreateStudy(study_request(name))
    first = await stub.ListStudies(pb.ListStudiesRequest(page_size=2))
    rest = await stub.ListStudies(pb.ListStudiesRequest(page_size=2, page_token=first.next_page_token))
    assert sorted(study.name for study in (*first.studies, *rest.studies)) == [
        "studies/a",
        "studies/b",
        "studies/c",
    ]
    assert rest.next_page_token == ""


async def test_a_watch_tells_every_round_and_ends_with_the_answer(api, stub):
    await stub.CreateStudy(study_request())
    call = stub.WatchStudy(pb.WatchStudyRequest(name="studies/s"))
    seen = [(await call.read()).study]
    one = driver(api.store, "tester")
    await asyncio.to_thread(one.step)
    seen.append((await call.read()).study)
    assert seen[-1].rounds[0].runs == 44
    assert seen[-1].experiments
    assert seen[-1].spent.asked_runs == 44
    await asyncio.to_thread(finish, api.store)
    while (answer := await call.read()) is not aio.EOF:
        seen.append(answer.study)
    last = seen[-1]
    assert (last.state, last.verdict, last.reason) == (
        study_pb2.STUDY_STATE_SUCCEEDED,
        study_pb2.STUDY_VERDICT_AGREES,
        study_pb2.STUDY_REASON_DECIDED,
    )
    ((cell,),) = ([*answer.cells] for answer in last.answers)
    assert (cell.value, cell.HasField("high"), cell.verdict) == (0.1, False, study_pb2.STUDY_VERDICT_AGREES)
    assert (cell.need.runs, cell.need.HasField("seeds")) == (7, False)
    assert list(last.rounds[0].learned) == ["it agrees"]
    assert [study.sequence for study in seen] == sorted(study.sequence for study in seen)


async def test_a_stopping_server_sends_watchers_away(running, taken_apart):
    async with running() as api:
        stub = study_service_pb2_grpc.StudyServiceStub(api.channel)
        await stub.CreateStudy(study_request())
        call = stub.WatchStudy(pb.WatchStudyRequest(name="studies/s"))
        await call.read()
        api.stop.set()
        with pytest.raises(aio.AioRpcError) as caught:
            await call.read()
    assert taken_apart(caught.value).code is grpc.StatusCode.UNAVAILABLE


async def test_cancelling_and_deleting(api, stub):
    await stub.CreateStudy(study_request())
    failed = await api.fails(stub.DeleteStudy(pb.DeleteStudyRequest(name="studies/s")))
    assert "cancel it" in failed.violations["name"]
    cancelled = await stub.CancelStudy(pb.CancelStudyRequest(name="studies/s"))
    assert cancelled.state == study_pb2.STUDY_STATE_CANCELLING
    await asyncio.to_thread(driver(api.store).step)
    await stub.DeleteStudy(pb.DeleteStudyRequest(name="studies/s"))
    deleted = await stub.GetStudy(pb.GetStudyRequest(name="studies/s"))
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * 86_400
    assert not (await stub.ListStudies(pb.ListStudiesRequest())).studies
    shown = await stub.ListStudies(pb.ListStudiesRequest(show_deleted=True))
    assert list(shown.studies) == [deleted]
    back = await stub.UndeleteStudy(pb.UndeleteStudyRequest(name="studies/s"))
    assert not back.HasField("purge_time")
    await stub.DeleteStudy(pb.DeleteStudyRequest(name="studies/s"))
    await stub.PurgeStudy(pb.PurgeStudyRequest(name="studies/s"))
    assert api.store.forget_purged_studies() == 1
    failed = await api.fails(stub.CreateStudy(study_request(validate_only=True)))
    assert (failed.code, "was purged" in failed.message) == (grpc.StatusCode.ALREADY_EXISTS, True)
    failed = await api.fails(stub.GetStudy(pb.GetStudyRequest(name="experiments/s")))
    assert set(failed.violations) == {"name"}


def update_request(paths=(), **fields):
    request = pb.UpdateStudyRequest(study={"name": "studies/s", **fields})
    request.update_mask.paths.extend(paths)
    return request


async def test_what_describes_a_study_is_updated(api, stub):
    about = {"display_name": "First", "labels": {"team": "theory"}, "priority": 3, "notes": "one\n\ttwo"}
    created = await stub.CreateStudy(study_request(study=about))
    assert created.notes == "one\n\ttwo"
    asked = update_request(["notes", "labels.paper"], notes="", labels={"paper": "3", "x": "y"}, priority=9)
    after = await stub.UpdateStudy(asked)
    assert (after.notes, dict(after.labels), after.priority) == ("", {"team": "theory", "paper": "3"}, 3)
    assert (await stub.GetStudy(pb.GetStudyRequest(name="studies/s"))).etag == after.etag != created.etag
    # A whole study may be sent back.
    after.notes = "again"
    after = await stub.UpdateStudy(pb.UpdateStudyRequest(study=after))
    assert (after.notes, after.spec) == ("again", created.spec)
    failed = await api.fails(stub.UpdateStudy(update_request(["notes"], etag=created.etag, notes="late")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    # What it asks for from now on has the new priority and labels.
    await stub.UpdateStudy(update_request(["priority"], priority=9))
    driver(api.store).step()
    first = api.store.list_experiments(limit=9)[0]
    assert (first.priority, first.labels["paper"], first.labels["study"]) == (9, "3", "s")


async def test_what_is_wrong_with_an_update_of_a_study_is_named(api, stub):
    created = await stub.CreateStudy(study_request())
    changed = study_pb2.Study()
    changed.CopyFrom(created)
    changed.spec.error_rate = 0.2
    failed = await api.fails(stub.UpdateStudy(pb.UpdateStudyRequest(study=changed)))
    assert failed.violations["study.spec"] == "never changes; ask a new study"
    changed.spec.ClearField("coordinate_check")
    failed = await api.fails(stub.UpdateStudy(pb.UpdateStudyRequest(study=changed)))
    assert set(failed.violations) == {"study.spec", "update_mask"}
    asked = update_request(
        ["priority", "labels.study", "state", "spec"], priority=5000, labels={"study": "x"}
    )
    failed = await api.fails(stub.UpdateStudy(asked))
    assert set(failed.violations) == {"study.priority", "study.labels", "update_mask"}
    assert (await stub.GetStudy(pb.GetStudyRequest(name="studies/s"))).etag == created.etag
