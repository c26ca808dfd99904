"""BatchGetExperiments and BatchGetRuns: all or none, in the order of the request."""

import grpc

from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1 import run_service_pb2
from ipserver.api import paging
from ipserver.store.records.accounts import Role


def several(*ids):
    return pb.BatchGetExperimentsRequest(names=[f"experiments/{name}" for name in ids])


def runs(*indices, parent="experiments/a"):
    return run_service_pb2.BatchGetRunsRequest(
        parent=parent, names=[f"experiments/a/runs/r{index:05d}" for index in indices]
    )


async def test_what_is_asked_for_comes_in_that_order(api):
    for name in ("a", "b", "c"):
        await api.create(name)
    found = (await api.experiments.BatchGetExperiments(several("c", "a", "c"))).experiments
    assert [one.name.rpartition("/")[2] for one in found] == ["c", "a", "c"]
    listed = (await api.experiments.ListExperiments(pb.ListExperimentsRequest())).experiments
    assert found[0] == listed[0]
    asked = await api.runs.BatchGetRuns(runs(3, 0, 1))
    whole = (await api.runs.ListRuns(run_service_pb2.ListRunsRequest(parent="experiments/a"))).runs
    assert list(asked.runs) == [whole[3], whole[0], whole[1]]


async def test_what_is_missing_is_named_and_nothing_else_comes(api):
    await api.create("a")
    failed = await api.fails(api.experiments.BatchGetExperiments(several("x", "a", "y", "x")))
    assert (failed.code, failed.message) == (
        grpc.StatusCode.NOT_FOUND,
        "there are no experiments 'x', 'y'",
    )
    failed = await api.fails(api.runs.BatchGetRuns(runs(7, 0)))
    assert failed.code is grpc.StatusCode.NOT_FOUND
    assert failed.message == "there is no run 7 in experiment 'a'; its 4 runs are 0 to 3"
    absent = run_service_pb2.BatchGetRunsRequest(parent="experiments/z", names=["experiments/z/runs/r00000"])
    assert "there is no experiment 'z'" in (await api.fails(api.runs.BatchGetRuns(absent))).message


async def test_wrong_names_are_named_all_at_once(api):
    await api.create("a")
    failed = await api.fails(
        api.experiments.BatchGetExperiments(pb.BatchGetExperimentsRequest(names=["a", "experiments/a", "/"]))
    )
    assert set(failed.violations) == {"names[0]", "names[2]"}
    assert set((await api.fails(api.experiments.BatchGetExperiments(several()))).violations) == {"names"}
    foreign = run_service_pb2.BatchGetRunsRequest(
        parent="experiments/a", names=["experiments/b/runs/r00000", "experiments/a/runs/0"]
    )
    failed = await api.fails(api.runs.BatchGetRuns(foreign))
    assert failed.violations["names[0]"] == "'experiments/b/runs/r00000' is not a run of 'experiments/a'"
    assert "names[1]" in failed.violations
    many = await api.fails(api.experiments.BatchGetExperiments(several(*["a"] * 101)))
    assert many.violations == {"names": "has 101 entries; at most 100 are allowed"}


async def test_an_answer_is_bounded(api, monkeypatch):
    for name in ("a", "b", "c"):
        await api.create(name)
    one = (await api.experiments.BatchGetExperiments(several("a"))).ByteSize()
    monkeypatch.setattr(paging, "MAX_PAGE_BYTES", int(2.5 * one))
    failed = await api.fails(api.experiments.BatchGetExperiments(several("a", "b", "c")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_EXPENSIVE")
    assert "the first 2" in failed.message
    monkeypatch.setattr(paging, "MAX_PAGE_BYTES", 1)
    assert len((await api.experiments.BatchGetExperiments(several("b"))).experiments) == 1


async def test_what_is_foreign_is_as_what_is_absent(running):
    async with running(auth=True) as api:
        tokens = {}
        for project, user in (("lab", "alice"), ("other", "bob")):
            api.store.accounts.create_project(project)
            api.store.accounts.grant(project, user, Role.WRITER)
            token = api.store.accounts.create_token(user, 3600)
            tokens[user] = (("authorization", f"Bearer {token}"),)
            await api.experiments.CreateExperiment(api.request_of(f"of-{user}"), metadata=tokens[user])
        own = await api.experiments.BatchGetExperiments(several("of-bob"), metadata=tokens["bob"])
        assert len(own.experiments) == 1
        asked = several("of-alice", "of-bob", "absent")
        failed = await api.fails(api.experiments.BatchGetExperiments(asked, metadata=tokens["bob"]))
        assert failed.message == "there are no experiments 'of-alice', 'absent'"
