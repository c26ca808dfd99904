"""Watches are ordered, gapless and resumable, and end with the experiment; slow watchers delay no others."""

import asyncio

import grpc
import pytest
from grpc import aio

from iplab.v1 import experiment_pb2
from iplab.v1 import experiment_service_pb2 as pb
from ipserver.api import convert
from ipserver.api import watch as watch_module
from ipserver.api.blocking import Blocking
from ipserver.api.watch import WatchHub
from ipserver.errors import NotFound, StoreUnavailable, WatchOverflow
from ipserver.store.records.experiments import EventRecord
from ipserver.store.transactions.edits import editing

SUCCEEDED = experiment_pb2.EXPERIMENT_STATE_SUCCEEDED


def watching(api, after=0, name="experiments/e"):
    return api.experiments.WatchExperiment(pb.WatchExperimentRequest(name=name, after_sequence=after))


async def events_of(call):
    return [event async for answer in call for event in answer.events]


def train_to_the_end(trainer):
    trainer.plan("e", (0, 1, 2, 3))
    pack = trainer.lease()
    for first in range(1, 20, 2):
        trainer.commit(pack, first, first + 1)


async def test_a_watcher_sees_everything_once_in_order_to_the_end(api, trainer):
    await api.create("e")
    early = asyncio.create_task(events_of(watching(api)))
    await asyncio.sleep(0)
    await asyncio.to_thread(train_to_the_end, trainer)
    events = await early
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].experiment_state_changed.state == SUCCEEDED
    progress = [event.pack_progressed for event in events if event.WhichOneof("event") == "pack_progressed"]
    assert [pack.committed_steps for pack in progress] == list(range(0, 21, 2))
    assert (progress[0].pack, progress[0].width, progress[0].runs, progress[0].steps) == ("p0", 16, 4, 20)
    last = next(
        event.runs_state_changed for event in reversed(events) if event.HasField("runs_state_changed")
    )
    assert list(last.run_indices) == [0, 1, 2, 3]
    # A watcher that starts after the end sees the same events.
    assert await events_of(watching(api)) == events


async def test_a_watch_goes_on_from_any_event(api, trainer):
    await api.create("e")
    train_to_the_end(trainer)
    events = await events_of(watching(api))
    for after in range(len(events) + 1):
        assert await events_of(watching(api, after)) == events[after:]


async def test_many_watchers_at_different_places_see_the_same(api, trainer):
    await api.create("e")
    calls = []
    task = asyncio.create_task(asyncio.to_thread(train_to_the_end, trainer))
    while not task.done():
        sequence = (
            await api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e"))
        ).sequence
        calls.append((sequence // 2, asyncio.create_task(events_of(watching(api, sequence // 2)))))
    whole = await events_of(watching(api))
    for after, call in calls:
        assert await call == whole[after:]


async def test_notices_reach_a_live_watcher(api):
    await api.create("e")
    call = watching(api, after=1)
    api.store.notice("e", "waits for a GPU")
    (event,) = (await call.read()).events
    assert event.notice.message == "waits for a GPU"
    assert event.HasField("time")
    call.cancel()


@pytest.mark.parametrize("after", [-1, 2])
async def test_events_that_are_none(api, after):
    await api.create("e")
    failed = await api.fails(watching(api, after))
    assert set(failed.violations) == {"after_sequence"}


async def test_a_watch_of_nothing(api):
    assert (await api.fails(watching(api, name="experiments/nothing"))).code == grpc.StatusCode.NOT_FOUND


async def test_large_histories_come_in_bounded_answers(api):
    await api.create("e")
    await asyncio.to_thread(lambda: [api.store.notice("e", "x" * 30_000) for _ in range(150)])
    sizes = []
    call = watching(api)
    seen = 0
    while seen < 151:
        answer = await call.read()
        sizes.append(answer.ByteSize())
        seen = answer.events[-1].sequence
    assert len(sizes) > 1
    assert max(sizes) < 2.2 * 2**20
    call.cancel()


async def test_a_stopping_server_sends_watchers_to_another_one(running, taken_apart):
    async with running() as api:
        await api.create("e")
        call = watching(api, after=1)
        reading = asyncio.create_task(call.read())
        # The watch is live when an event reaches it.
        api.store.notice("e", "hello")
        await reading
        api.stop.set()
        with pytest.raises(aio.AioRpcError) as caught:
            await call.read()
        failed = taken_apart(caught.value)
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_a_watch_goes_on_at_the_next_server_or_at_another_one(running, trainer):
    async with running() as first, running() as other:
        await first.create("e")
        trainer.plan("e", (0, 1, 2, 3))
        pack = trainer.lease()
        call = watching(first)
        seen = list((await call.read()).events)
        # A watcher of one server gets events that another server commits.
        elsewhere = watching(other, after=seen[-1].sequence)
        first.store.notice("e", "hello")
        seen += (await elsewhere.read()).events
    # Either the server ends the stream first, or the client closes its channel first.
    with pytest.raises((aio.AioRpcError, asyncio.CancelledError)):
        await elsewhere.read()
    # No server runs.
    for step in range(1, 20, 2):
        trainer.commit(pack, step, step + 1)
    async with running() as next_one:
        seen += await events_of(watching(next_one, after=seen[-1].sequence))
        assert [event.sequence for event in seen] == list(range(1, seen[-1].sequence + 1))
        assert seen[-1].experiment_state_changed.state == SUCCEEDED


def many_events(transaction, count, length):
    with editing(transaction, "e") as edit:
        for _ in range(count):
            edit.event("notice", {"message": "x" * length})


async def test_a_client_that_does_not_read_is_dropped_stalls_nobody_and_comes_back(running, taken_apart):
    """A real connection whose window is full, so that the server can send nothing more."""
    async with running(watch_capacity=500) as api:
        await api.create("e")
        slow, quick = watching(api), watching(api)
        got = list((await slow.read()).events)
        seen = list((await quick.read()).events)
        assert got == seen
        for batch in range(1, 9):
            await asyncio.to_thread(api.store.database.write, many_events, 400, 5_000)
            while seen[-1].sequence < 1 + 400 * batch:
                seen += (await asyncio.wait_for(quick.read(), 120)).events
        quick.cancel()
        assert [event.sequence for event in seen] == list(range(1, 3202))

        with pytest.raises(aio.AioRpcError) as caught:
            while True:
                got += (await slow.read()).events
        failed = taken_apart(caught.value)
        assert (failed.code, failed.reason) == (grpc.StatusCode.ABORTED, "WATCH_OVERFLOW")
        assert "watch again from the last event received" in failed.message
        assert got[-1].sequence < 3201
        again = watching(api, after=got[-1].sequence)
        while got[-1].sequence < 3201:
            got += (await again.read()).events
        again.cancel()
        assert got == seen


@pytest.fixture
async def hub(store, monkeypatch):
    monkeypatch.setattr(watch_module, "_PAGE", 20)
    blocking = Blocking(4)
    made = WatchHub(store, blocking, interval=0.001, capacity=40)
    poller = asyncio.create_task(made.poll())
    yield made
    poller.cancel()
    blocking.close()


async def numbers(watch):
    return [event.sequence for event in await anext(watch)]


async def live(hub, watch):
    """A task that waits for the next events of a watch that has caught up."""
    task = asyncio.create_task(numbers(watch))
    while hub.watched != ["e"]:
        await asyncio.sleep(0.001)
    return task


async def test_a_watcher_too_slow_is_ended_and_may_come_back(api, hub):
    await api.create("e")
    slow, quick = hub.watch("e", 0), hub.watch("e", 0)
    assert await numbers(slow) == await numbers(quick) == [1]
    waiting = await live(hub, slow)
    api.store.notice("e", "2")
    # `slow` takes this event from its queue, and then no other.
    assert await waiting == [2]
    seen = await numbers(quick)
    loop = asyncio.get_running_loop()
    writing = loop.run_in_executor(None, lambda: [api.store.notice("e", "x") for _ in range(60)])
    while seen[-1] < 62:
        seen += await numbers(quick)
    await writing
    assert seen == list(range(2, 63))
    with pytest.raises(WatchOverflow, match="more than 40 events behind"):
        await numbers(slow)
    assert await numbers(hub.watch("e", 2)) == list(range(3, 23))


async def test_a_store_that_fails_ends_watches_and_the_poller_goes_on(api, hub, monkeypatch):
    await api.create("e")

    def away(experiments):
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(api.store, "heads", away)
        with pytest.raises(StoreUnavailable, match="away"):
            await numbers(hub.watch("e", 1))
    waiting = await live(hub, hub.watch("e", 1))
    api.store.notice("e", "back")
    assert await waiting == [2]


async def test_a_purge_or_a_defect_in_one_experiment_ends_no_watch_of_another(api, hub, monkeypatch):
    for name in ("e", "f"):
        await api.create(name)
    events = api.store.events

    def purged(experiment, **place):
        if experiment == "e":
            raise NotFound("there is no experiment 'e'")
        return events(experiment, **place)

    lost, other = hub.watch("e", 1), hub.watch("f", 1)
    waiting = [asyncio.ensure_future(numbers(watch)) for watch in (lost, other)]
    while hub.watched != ["e", "f"]:
        await asyncio.sleep(0.001)
    monkeypatch.setattr(api.store, "events", purged)
    api.store.notice("e", "gone")
    with pytest.raises(NotFound, match="'e'"):
        await waiting[0]
    api.store.notice("f", "live")
    assert await waiting[1] == [2]


async def test_nobody_is_left_behind(api, hub):
    """After the last watcher has gone, the poller stops asking the store."""
    await api.create("e")
    watch = hub.watch("e", 1)
    waiting = await live(hub, watch)
    api.store.notice("e", "live")
    assert await waiting == [2]
    await watch.aclose()
    assert hub.watched == []


def test_an_event_of_an_unknown_kind_is_a_defect():
    with pytest.raises(ValueError, match="unknown kind"):
        convert.event(EventRecord(1, 0.0, "surprise", {}))
