"""Attempts at packs: interrupted ones lose nothing, and failed ones use up their budget."""

import threading
import time

import pytest

from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import open_store
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.workers.executor import worker_lost
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import Clock, ended, final_weights, notices, points, run_until
from tests.ipserver.scheduling.test_dispatcher_failures import _HangingExecutor
from tests.ipserver.support import settings_in, small_spec, store_in, submit


def train_interrupted(home, checkpoints, interruptions):
    """Train the same experiment with a number of interruptions; return weights and points."""
    # A slice is one update, so every interruption comes long before the end.
    settings = settings_in(home, slice_seconds=1e-9, checkpoint_seconds=1e-9 if checkpoints else 1e9)
    store = store_in(settings)
    submit(store, small_spec(steps=40))
    for attempt in range(interruptions):
        executor = LocalExecutor()
        dispatcher = Dispatcher(store, executor, settings, f"d{attempt}")
        before = store.get_experiment("e").committed_steps
        run_until(dispatcher, lambda before=before: store.get_experiment("e").committed_steps > before)
        if checkpoints:
            dispatcher.drain()  # as on SIGTERM
        else:  # as after a crash, which is noticed when the lease ends
            token = store.attempts("e", 0)[-1].token
            store.end_attempt("e", "p0000", token, failure=None, retry=True)
        executor.close()
    executor = LocalExecutor()
    run_until(Dispatcher(store, executor, settings, "last"), ended(store))
    executor.close()
    assert len(store.attempts("e", 0)) == interruptions + 1
    return final_weights(store, settings), points(store)


@pytest.mark.parametrize("checkpoints", [True, False], ids=["from checkpoints", "from the start"])
def test_an_interrupted_pack_ends_as_an_undisturbed_one(tmp_path, checkpoints):
    undisturbed = train_interrupted(tmp_path / "undisturbed", checkpoints, interruptions=0)

    assert train_interrupted(tmp_path / "interrupted", checkpoints, interruptions=2) == undisturbed


def test_a_torn_checkpoint_is_not_used(tmp_path):
    settings = settings_in(tmp_path, slice_seconds=1e-9, checkpoint_seconds=1e-9)
    store = store_in(settings)
    submit(store, small_spec(steps=40))
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d0")
    run_until(dispatcher, lambda: store.get_experiment("e").committed_steps > 0)
    dispatcher.drain()
    executor.close()
    torn = sorted((settings.artifact_root.folder / "e" / "checkpoints").rglob("*.safetensors"))
    assert torn
    for path in torn:
        path.write_bytes(path.read_bytes()[:-10])

    executor = LocalExecutor()
    run_until(Dispatcher(store, executor, settings, "d1"), ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    notices = [e.payload["message"] for e in store.events("e", after=0, limit=1000) if e.kind == "notice"]
    assert any("not used" in str(message) for message in notices)
    assert not list((settings.artifact_root.folder / "e" / "checkpoints").rglob("*.*"))


class _DyingExecutor(LocalExecutor):
    """Real training, but the first `deaths` answers are lost with their workers, as after kills."""

    def __init__(self, deaths):
        super().__init__()
        self.deaths = deaths

    def ready(self, workers, timeout):
        arrived = super().ready(workers, timeout)
        if arrived and self.deaths:
            self.deaths -= 1
            return [(arrived[0][0], worker_lost("killed"))]
        return arrived


def test_a_lost_worker_is_replaced(store, settings):
    executor = _DyingExecutor(deaths=3)
    submit(store, small_spec())

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    reasons = [attempt.end_reason for attempt in store.attempts("e", 0)]
    assert reasons == [FailureReason.WORKER_LOST] * 3 + [None]


def test_attempts_that_get_on_use_up_no_budget(tmp_path):
    settings = settings_in(tmp_path, max_attempts=1, slice_seconds=1e-9, checkpoint_seconds=1e9)
    store, executor = store_in(settings), _DyingExecutor(deaths=0)
    submit(store, small_spec(steps=40))
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(3):
        before = store.get_experiment("e").committed_steps
        run_until(dispatcher, lambda before=before: store.get_experiment("e").committed_steps > before)
        executor.deaths = 1
        run_until(dispatcher, lambda: not executor.deaths)
    run_until(dispatcher, ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    reasons = [attempt.end_reason for attempt in store.attempts("e", 0)]
    assert reasons == [FailureReason.WORKER_LOST] * 3 + [None]
    assert any("is tried again (1 more try): WORKER_LOST: killed" in notice for notice in notices(store, "e"))


def test_a_pack_that_ends_every_dispatcher_ends_some_day(tmp_path):
    settings = settings_in(tmp_path, max_attempts_lease_lost=3)
    clock = Clock()
    store_in(settings).close()
    store = open_store(settings.store_dsn, clock=clock)
    submit(store, small_spec(), "poison")
    for attempt in range(3):
        executor = _HangingExecutor()
        Dispatcher(store, executor, settings, f"d{attempt}").step()  # and never returns
        executor.close()
        clock.time += settings.lease_seconds
    executor = LocalExecutor()
    submit(store, small_spec())
    run_until(Dispatcher(store, executor, settings, "last"), ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    run = store.get_run("poison", 0)
    assert (run.state, run.failure.reason) == (RunState.FAILED, FailureReason.LEASE_LOST)
    assert "3 dispatchers in a row" in run.failure.message
    assert [a.end_reason for a in store.attempts("poison", 0)] == [FailureReason.LEASE_LOST] * 4


def test_the_retry_budget_ends(store, settings):
    executor = _DyingExecutor(deaths=100)
    submit(store, small_spec())

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))
    executor.close()

    run = store.get_run("e", 0)
    assert run.state is RunState.FAILED
    assert run.failure.reason is FailureReason.WORKER_LOST
    assert len(store.attempts("e", 0)) == settings.max_attempts


def test_a_stopped_dispatcher_writes_checkpoints_and_gives_its_packs_back(tmp_path):
    settings = settings_in(tmp_path)
    store = store_in(settings)
    submit(store, small_spec(steps=100_000))
    executor, stop = LocalExecutor(), threading.Event()
    thread = threading.Thread(target=Dispatcher(store, executor, settings, "d").run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 180
    while not store.get_experiment("e").committed_steps:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stop.set()
    thread.join()
    executor.close()

    assert store.get_experiment("e").counts[RunState.QUEUED] == 4
    (experiment,) = store.waiting()
    pack = store.lease_pack(experiment.id, "next", 60)
    assert pack.checkpoints[0].step == pack.committed_steps > 0
    assert (settings.artifact_root.folder / pack.checkpoints[0].path).exists()


def test_a_failed_pack_leaves_no_checkpoints(tmp_path):
    settings = settings_in(tmp_path, checkpoint_seconds=1e-9, max_attempts=1)
    store = store_in(settings)
    executor = _DyingExecutor(deaths=0)
    submit(store, small_spec(steps=100_000))
    dispatcher = Dispatcher(store, executor, settings, "d")
    checkpoints = settings.artifact_root.folder / "e" / "checkpoints"
    run_until(dispatcher, lambda: list(checkpoints.rglob("*.safetensors")))

    executor.deaths = 2  # the first one committed something, so it does not count
    run_until(dispatcher, ended(store))
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.FAILED
    assert len(store.attempts("e", 0)) == 2
    assert not list(checkpoints.rglob("*.safetensors"))
