"""Pause and resume: packs are given back at a slice boundary with a checkpoint, with unchanged results."""

import pytest

from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.records.experiments import EventRecord
from ipserver.store.states import ExperimentState, RunState
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import ended, final_weights, points, run_until
from tests.ipserver.support import settings_in, small_spec, store_in, submit


@pytest.fixture
def settings(tmp_path):
    # A slice is one update: every pause comes long before the end. Checkpoints are written only on request.
    return settings_in(tmp_path, slice_seconds=1e-9, checkpoint_seconds=1e9)


def state_is(store, state, experiment="e"):
    return lambda: store.get_experiment(experiment).state is state


def trained(home, pauses):
    """Train the same experiment with a number of pauses; return its weights, points and store."""
    settings = settings_in(home, slice_seconds=1e-9, checkpoint_seconds=1e9, lease_seconds=600)
    store, executor = store_in(settings), LocalExecutor()
    submit(store, small_spec(steps=40))
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(pauses):
        before = store.get_experiment("e").committed_steps
        run_until(dispatcher, lambda before=before: store.get_experiment("e").committed_steps > before)
        assert store.pause_experiment("e").state is ExperimentState.PAUSING
        run_until(dispatcher, state_is(store, ExperimentState.PAUSED))
        assert store.resume_experiment("e").state is ExperimentState.QUEUED
    run_until(dispatcher, ended(store))
    executor.close()
    return final_weights(store, settings), points(store), store


def test_a_paused_pack_ends_bit_for_bit_as_an_undisturbed_one(tmp_path):
    weights, recorded, _ = trained(tmp_path / "undisturbed", pauses=0)
    *paused, store = trained(tmp_path / "paused", pauses=2)

    assert paused == [weights, recorded]
    attempts = store.attempts("e", 0)
    assert [attempt.end_reason for attempt in attempts] == [None] * 3, "a pause is no failure"
    # It continued from the slice boundary of the pause, so nothing was trained again.
    notices = [event.payload["message"] for event in events(store) if event.kind == "notice"]
    assert [text.partition(": ")[2] for text in notices] == [
        f"resumed from the checkpoint of step {attempt.first_step}" for attempt in attempts[1:]
    ]


def events(store) -> list[EventRecord]:
    return store.events("e", after=0, limit=10_000)


def test_nothing_is_held_and_nothing_starts_while_paused(store, settings, executor):
    submit(store, small_spec(steps=100_000, grid={"widths": [8, 16, 24]}))
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)
    assert store.get_experiment("e").counts[RunState.QUEUED] == 4  # a third pack waits

    store.pause_experiment("e")
    assert store.get_experiment("e").counts[RunState.PAUSED] == 4
    run_until(dispatcher, state_is(store, ExperimentState.PAUSED))
    committed = store.get_experiment("e").committed_steps
    for _ in range(5):
        dispatcher.step()

    assert store.get_experiment("e").counts[RunState.PAUSED] == 12
    assert store.get_experiment("e").committed_steps == committed
    assert all(attempt.end_time is not None for run in range(12) for attempt in store.attempts("e", run))
    assert store.waiting() == []
    # Other experiments are trained meanwhile.
    submit(store, small_spec(), "other")
    run_until(dispatcher, ended(store, "other"))
    assert store.get_experiment("e").state is ExperimentState.PAUSED
    dispatcher.drain()


def test_a_paused_experiment_can_be_cancelled(store, settings, executor):
    submit(store, small_spec(steps=100_000))
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)
    store.pause_experiment("e")
    run_until(dispatcher, state_is(store, ExperimentState.PAUSED))

    assert store.cancel_experiment("e").state is ExperimentState.CANCELLED
    assert store.idle()
    assert store.resume_experiment("e").state is ExperimentState.CANCELLED


def test_cancelled_before_the_pause_is_over(store, settings, executor):
    submit(store, small_spec(steps=100_000))
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)
    store.pause_experiment("e")
    assert store.cancel_experiment("e").state is ExperimentState.CANCELLING

    run_until(dispatcher, ended(store))
    assert store.get_experiment("e").counts[RunState.CANCELLED] == 4


def test_resumed_before_the_pause_is_over(store, settings, executor):
    submit(store, small_spec(steps=40))
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)
    store.pause_experiment("e")
    dispatcher.step()
    store.resume_experiment("e")

    run_until(dispatcher, ended(store))
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED


def test_paused_before_it_was_planned(store, settings, executor):
    submit(store, small_spec())
    assert store.pause_experiment("e").state is ExperimentState.PAUSED
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(3):
        dispatcher.step()
    assert {run.pack for run in store.list_runs("e", limit=10)} == {""}

    store.resume_experiment("e")
    run_until(dispatcher, ended(store))
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED


class _Pending(LocalExecutor):
    """Workers that never get their resources, like Ray's actors in a full cluster."""

    def start(self, job):
        worker = super().start(job)
        worker.started = lambda: False
        worker.node = lambda: ""
        worker.advance = lambda ended, *, checkpoint=False: None
        return worker


@pytest.mark.parametrize("asked", ["pause", "cancel"])
def test_what_waits_for_resources_is_taken_back(store, settings, asked):
    executor = _Pending()
    submit(store, small_spec())
    clock = iter(range(0, 10**9, 5))
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=lambda: float(next(clock)))
    dispatcher.step()
    assert store.get_experiment("e").counts[RunState.RUNNING] == 4

    getattr(store, f"{asked}_experiment")("e")
    dispatcher.step()
    executor.close()

    expected = ExperimentState.PAUSED if asked == "pause" else ExperimentState.CANCELLED
    assert store.get_experiment("e").state is expected
    assert dispatcher.step() is False, "nothing is in hand"
