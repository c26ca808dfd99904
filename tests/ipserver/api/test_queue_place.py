"""A queued experiment says where it stands, one that trains does not."""

from iplab.v1 import experiment_service_pb2 as pb


async def test_the_place_is_there_while_it_is_queued(api, trainer):
    async def place(name):
        found = await api.experiments.GetExperiment(pb.GetExperimentRequest(name=f"experiments/{name}"))
        return found.queue_place if found.HasField("queue_place") else None

    await api.create("first")
    assert await place("first") is None  # it is not planned yet
    trainer.plan("first", (0, 1), (2, 3))
    await api.create("second")
    trainer.plan("second", (0, 1, 2, 3))
    assert (await place("first")).packs_before == 0
    found = await place("second")
    assert (found.packs_before, found.HasField("expected_start_time")) == (2, False)
    pack = trainer.lease()
    assert pack.experiment.id == "first"
    trainer.commit(pack, 1, 20)
    trainer.lease()
    assert (await place("second")).HasField("expected_start_time")
    trainer.lease()
    assert await place("second") is None
    listed = (await api.experiments.ListExperiments(pb.ListExperimentsRequest())).experiments
    assert not any(one.HasField("queue_place") for one in listed)
