"""Preemption with real training in threads: the urgent pack trains first, the other one continues later."""

import itertools

import pytest

from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState, RunState
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import ended, final_weights, notices, points, run_until
from tests.ipserver.support import settings_in, small_spec, store_in, submit


class Watched(LocalExecutor):
    """Records the order in which packs are started."""

    def __init__(self, cpus):
        super().__init__(cpus)
        self.order = []

    def start(self, job):
        self.order.append(job.experiment)
        return super().start(job)


def passing():
    """A clock that moves whenever it is read: waiting packs are checked after a few passes on any machine."""
    ticks = itertools.count()
    return lambda: next(ticks) / 10


def started(home, cpus=1, **options):
    """A store, and a dispatcher that checks waiting packs every few passes."""
    # A slice is one update.
    settings = settings_in(home, slice_seconds=1e-9, checkpoint_seconds=1e9, lease_seconds=600, **options)
    store, executor = store_in(settings), Watched(cpus)
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=passing())
    return store, settings, executor, dispatcher


def steps_of(store, experiment):
    return lambda: store.get_experiment(experiment).committed_steps > 0


def test_the_more_urgent_goes_first_and_the_other_ends_bit_for_bit_as_undisturbed(tmp_path):
    outcomes = []
    for urgent in (False, True):
        # A single failed attempt would fail the pack, so preemption uses no budget.
        store, settings, executor, dispatcher = started(tmp_path / str(urgent), max_attempts=1)
        submit(store, small_spec(steps=60))
        run_until(dispatcher, steps_of(store, "e"))
        if urgent:
            submit(store, small_spec(), "urgent", priority=1)
        run_until(dispatcher, ended(store))
        executor.close()
        outcomes.append((final_weights(store, settings), points(store)))

    assert executor.order == ["e", "urgent", "e"]
    assert outcomes[0] == outcomes[1]
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    first, second = store.attempts("e", 0)
    assert first.end_reason is second.end_reason is None
    resumed = f"pack p0000: resumed from the checkpoint of step {second.first_step}"
    assert notices(store, "e") == [
        "pack p0000 makes room for urgent of higher priority; it continues later",
        resumed,
    ]


def test_equals_do_not_disturb_each_other(tmp_path):
    store, _, executor, dispatcher = started(tmp_path)
    submit(store, small_spec(steps=60))
    run_until(dispatcher, steps_of(store, "e"))
    submit(store, small_spec(), "later")

    run_until(dispatcher, ended(store, "later"))
    executor.close()

    assert executor.order == ["e", "later"]


def test_only_as_many_give_way_as_it_takes_and_nobody_snatches_the_room(tmp_path):
    """A pack of two cores among three of one: the two youngest give way; `middle` does not start first."""
    store, _, executor, dispatcher = started(tmp_path, cpus=3)
    for name in ("a", "b", "c"):
        submit(store, small_spec(steps=100_000), name)
        run_until(dispatcher, steps_of(store, name))
    submit(store, small_spec(steps=100_000), "middle")
    submit(store, small_spec(resources={"cpus": 2}, steps=20), "urgent", priority=1)

    run_until(dispatcher, ended(store, "urgent"))

    assert executor.order[:4] == ["a", "b", "c", "urgent"]
    assert store.get_experiment("a").counts[RunState.RUNNING] == 4
    run_until(dispatcher, lambda: len(executor.order) == 6)
    assert set(executor.order[4:]) == {"b", "c"}
    dispatcher.drain()
    executor.close()


class _Held(Watched):
    """Real training on two cores and a disk; slices of experiment "b" arrive only when released."""

    holds, kept = True, ()

    def nodes(self):
        return {name: dict(node, disk=1.0) for name, node in super().nodes().items()}

    def ready(self, workers, timeout):
        arrived = [*self.kept, *super().ready(workers, timeout)]
        self.kept = [it for it in arrived if self.holds and it[0]._job.experiment == "b"]
        return [it for it in arrived if it not in self.kept]


def test_nobody_takes_a_part_of_the_room_that_is_being_made(tmp_path):
    store, settings, _, _ = started(tmp_path)
    executor = _Held(cpus=2)
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=passing())
    submit(store, small_spec(steps=100_000), "a")
    submit(store, small_spec(steps=100_000, resources={"custom": {"disk": 1}}), "b")
    run_until(dispatcher, steps_of(store, "a"))
    submit(store, small_spec(), "middle", priority=1)
    submit(store, small_spec(resources={"cpus": 2, "custom": {"disk": 1}}), "urgent", priority=2)
    run_until(dispatcher, lambda: store.get_experiment("a").counts[RunState.QUEUED] == 4)

    for _ in range(5):  # a core is free, but the pack that waits for the disk needs it too
        dispatcher.step()
    assert store.attempts("middle", 0) == []
    executor.holds = False
    run_until(dispatcher, ended(store, "middle"))
    assert executor.order[:4] == ["a", "b", "urgent", "middle"]
    dispatcher.drain()
    executor.close()


def test_nobody_gives_way_to_what_would_not_fit(tmp_path):
    store, _, executor, dispatcher = started(tmp_path, cpus=1)
    submit(store, small_spec(steps=60))
    run_until(dispatcher, steps_of(store, "e"))
    submit(store, small_spec(resources={"cpus": 2}), "large", priority=9)

    run_until(dispatcher, ended(store))
    executor.close()

    assert len(store.attempts("e", 0)) == 1
    assert store.get_experiment("large").state is ExperimentState.QUEUED


def test_a_paused_one_is_nobody_to_make_room_for(tmp_path):
    store, _, executor, dispatcher = started(tmp_path)
    submit(store, small_spec(steps=60))
    run_until(dispatcher, steps_of(store, "e"))
    submit(store, small_spec(), "urgent", priority=9)
    store.pause_experiment("urgent")

    run_until(dispatcher, ended(store))
    executor.close()

    assert len(store.attempts("e", 0)) == 1


@pytest.mark.parametrize("asked", ["cancel", "pause"])
def test_whoever_gives_way_can_be_stopped_meanwhile(tmp_path, asked):
    store, _, executor, dispatcher = started(tmp_path)
    submit(store, small_spec(steps=100_000))
    run_until(dispatcher, steps_of(store, "e"))
    submit(store, small_spec(steps=20), "urgent", priority=9)
    run_until(dispatcher, lambda: notices(store, "e"))

    getattr(store, f"{asked}_experiment")("e")
    run_until(dispatcher, ended(store, "urgent"))
    executor.close()

    expected = ExperimentState.CANCELLED if asked == "cancel" else ExperimentState.PAUSED
    assert store.get_experiment("e").state is expected
