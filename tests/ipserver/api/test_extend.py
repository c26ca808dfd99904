"""ExtendExperiment: what is added, what is refused, and what watchers see of it."""

import asyncio
import uuid

import grpc
import pytest

from iplab.v1 import experiment_pb2
from iplab.v1 import experiment_service_pb2 as pb
from ipserver.request.limits import limits_with

SUCCEEDED = experiment_pb2.EXPERIMENT_STATE_SUCCEEDED
RUNNING = experiment_pb2.EXPERIMENT_STATE_RUNNING


def extend(api, **axes):
    return api.experiments.ExtendExperiment(pb.ExtendExperimentRequest(name="experiments/e", **axes))


async def runs_of(api):
    return await asyncio.to_thread(api.store.list_runs, "e", limit=100)


async def test_new_runs_come_last_in_the_order_of_the_grid(api):
    await api.create("e")
    before = await runs_of(api)
    answer = await extend(api, seeds=[5], base_learning_rates=[0.2])
    assert (answer.counts.total, answer.counts.queued, answer.total_steps) == (12, 12, 240)
    assert list(answer.spec.grid.seeds) == [0, 1, 5]
    assert list(answer.spec.grid.base_learning_rates) == [0.1, 0.2]
    runs = await runs_of(api)
    assert runs[:4] == before
    assert [run.index for run in runs] == list(range(12))
    mup = [(0.1, 5), (0.2, 0), (0.2, 1), (0.2, 5)]
    assert [(run.parameterization, run.base_learning_rate, run.seed) for run in runs[4:]] == [
        (label, *point) for label in ("mup", "ip-llr") for point in mup
    ]
    wider = await extend(api, widths=[8])
    assert wider.counts.total == 24
    assert {run.width for run in (await runs_of(api))[12:]} == {8}


async def test_a_repeated_request_adds_nothing(api):
    await api.create("e")
    request_id = str(uuid.uuid4())
    first = await extend(api, seeds=[2], request_id=request_id)
    assert await extend(api, seeds=[2], request_id=request_id.upper()) == first
    failed = await api.fails(extend(api, seeds=[3], request_id=request_id))
    assert (failed.code, failed.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert len(await runs_of(api)) == 6


async def test_extensions_at_the_same_time_are_all_made(api):
    await api.create("e")
    await asyncio.gather(*(extend(api, seeds=[seed]) for seed in range(2, 8)))
    runs = await runs_of(api)
    assert [run.index for run in runs] == list(range(16))
    assert {run.seed for run in runs} == set(range(8))


async def test_a_preview_adds_nothing(api):
    await api.create("e")
    answer = await extend(api, widths=[32], validate_only=True)
    assert (answer.counts.total, answer.total_steps, list(answer.spec.grid.widths)) == (8, 160, [16, 32])
    assert answer.run_memory_bytes > 0
    assert len(await runs_of(api)) == 4


@pytest.mark.parametrize(
    ("axes", "fields"),
    [
        ({}, {"seeds": "give at least one of seeds, widths, base_learning_rates"}),
        ({"seeds": [7, 1]}, {"seeds[1]": "has the seed 1 already; leave it out"}),
        ({"seeds": [7, 7]}, {"seeds[1]": "there twice (also at [0])"}),
        ({"widths": [0, 16]}, {"widths[0]": "0", "widths[1]": "the width 16 already"}),
        ({"widths": [8, 60000]}, {"widths[1]": "the limit is"}),
        ({"base_learning_rates": [0.2, -1]}, {"base_learning_rates[1]": "-1"}),
        ({"base_learning_rates": [1e37]}, {"base_learning_rates[0]": "1e+37"}),
        ({"seeds": range(2, 1900), "widths": range(17, 30)}, {"seeds": "the extended grid has 53,200 runs"}),
        ({"seeds": [2], "request_id": "x"}, {"request_id": "is not a UUID"}),
    ],
)
async def test_everything_wrong_is_named(api, axes, fields):
    await api.create("e")
    failed = await api.fails(extend(api, **axes))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    for field, text in fields.items():
        assert text in failed.violations.get(field, ""), failed.violations
    assert len(await runs_of(api)) == 4


async def test_rates_that_nobody_would_use_are_refused(api):
    own = [{"preset": "mup", "base_learning_rates": [0.3]}]
    await api.create("e", grid={"parameterizations": own, "base_learning_rates": []})
    failed = await api.fails(extend(api, base_learning_rates=[0.2]))
    assert "rates of its own" in failed.violations["base_learning_rates"]
    assert (await extend(api, seeds=[9])).counts.total == 3


async def test_a_smaller_limit_is_said_of_what_is_added(running):
    async with running() as api:
        await api.create("e")
    async with running(limits=limits_with(max_runs=5)) as api:
        failed = await api.fails(extend(api, widths=[32]))
        assert failed.violations["widths"].startswith("the extended grid has 8 runs")


async def test_what_was_cancelled_is_refused(api):
    await api.create("e")
    await api.experiments.CancelExperiment(pb.CancelExperimentRequest(name="experiments/e"))
    for preview in (False, True):
        failed = await api.fails(extend(api, seeds=[2], validate_only=preview))
        assert "it is CANCELLED" in failed.violations["name"]
    failed = await api.fails(
        api.experiments.ExtendExperiment(pb.ExtendExperimentRequest(name="experiments/x", seeds=[1]))
    )
    assert failed.code is grpc.StatusCode.NOT_FOUND


async def test_a_watch_goes_through_an_end_that_was_extended(api, trainer):
    """Watchers from before and after the first end see all events, to the last end."""

    def watching(after=0):
        return api.experiments.WatchExperiment(
            pb.WatchExperimentRequest(name="experiments/e", after_sequence=after)
        )

    async def events_of(call):
        return [event async for answer in call for event in answer.events]

    def train(pack_id, *indices):
        trainer.plan("e", indices, first=pack_id)
        pack = trainer.lease()
        trainer.commit(pack, 1, 20)

    await api.create("e")
    await asyncio.to_thread(train, 0, 0, 1, 2, 3)
    first = await events_of(watching())
    assert first[-1].experiment_state_changed.state == SUCCEEDED
    await extend(api, seeds=[2])
    live = asyncio.create_task(events_of(watching(first[-1].sequence)))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(train, 1, 4, 5)
    more = await live
    extended, running_again = more[:2]
    assert list(extended.experiment_extended.seeds) == [2]
    assert (extended.experiment_extended.first_run_index, extended.experiment_extended.runs) == (4, 2)
    assert running_again.experiment_state_changed.state == RUNNING
    assert more[-1].experiment_state_changed.state == SUCCEEDED
    assert await events_of(watching()) == first + more
    assert await events_of(watching(more[-1].sequence)) == []
