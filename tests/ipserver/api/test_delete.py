"""Deleting, undeleting and purging over a real channel."""

import grpc

from iplab.v1 import experiment_service_pb2 as pb


async def listed(api, **request):
    answer = await api.experiments.ListExperiments(pb.ListExperimentsRequest(**request))
    return [one.name for one in answer.experiments], answer


async def test_an_experiment_is_deleted_undeleted_and_purged(api):
    await api.create("e")
    await api.create("other")
    named = {"name": "experiments/e"}
    failed = await api.fails(api.experiments.DeleteExperiment(pb.DeleteExperimentRequest(**named)))
    assert (failed.code, "cancel it" in failed.violations["name"]) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        True,
    )
    await api.experiments.CancelExperiment(pb.CancelExperimentRequest(**named))
    stale = pb.DeleteExperimentRequest(etag="0", **named)
    assert (await api.fails(api.experiments.DeleteExperiment(stale))).code is grpc.StatusCode.ABORTED
    deleted = await api.experiments.DeleteExperiment(pb.DeleteExperimentRequest(**named))
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * 86_400
    assert await api.experiments.DeleteExperiment(pb.DeleteExperimentRequest(**named)) == deleted
    assert await api.experiments.GetExperiment(pb.GetExperimentRequest(**named)) == deleted

    assert (await listed(api))[0] == ["experiments/other"]
    names, page = await listed(api, show_deleted=True, page_size=1)
    assert names == ["experiments/other"]
    token = page.next_page_token
    assert (await listed(api, show_deleted=True, page_token=token))[0] == ["experiments/e"]
    wrong = api.experiments.ListExperiments(pb.ListExperimentsRequest(page_token=token))
    assert "page_token" in (await api.fails(wrong)).violations, "a token is of one listing"
    assert (await listed(api, filter="experiment = e"))[0] == []

    extended = api.experiments.ExtendExperiment(
        pb.ExtendExperimentRequest(seeds=[7], validate_only=True, **named)
    )
    assert "is deleted" in (await api.fails(extended)).violations["name"]
    again = await api.fails(api.create("e", validate_only=True))
    assert (again.code, "undelete it" in again.message) == (grpc.StatusCode.ALREADY_EXISTS, True)

    back = await api.experiments.UndeleteExperiment(pb.UndeleteExperimentRequest(**named))
    assert not back.HasField("delete_time")
    assert len((await listed(api))[0]) == 2
    failed = await api.fails(api.experiments.PurgeExperiment(pb.PurgeExperimentRequest(**named)))
    assert "delete it first" in failed.violations["name"]
    await api.experiments.DeleteExperiment(pb.DeleteExperimentRequest(**named))
    purged = await api.experiments.PurgeExperiment(pb.PurgeExperimentRequest(**named))
    assert purged.purge_time.seconds < deleted.purge_time.seconds
    failed = await api.fails(api.experiments.UndeleteExperiment(pb.UndeleteExperimentRequest(**named)))
    assert "being purged" in failed.violations["name"]
    while not api.store.forget_purged_experiment("e"):
        pass
    gone = await api.fails(api.experiments.GetExperiment(pb.GetExperimentRequest(**named)))
    assert gone.code is grpc.StatusCode.NOT_FOUND
    again = await api.fails(api.create("e", validate_only=True))
    assert (again.code, "was purged" in again.message) == (grpc.StatusCode.ALREADY_EXISTS, True)
