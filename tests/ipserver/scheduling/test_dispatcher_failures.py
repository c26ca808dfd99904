"""The dispatcher survives failures of packs, workers, the store and the cluster, and fails no other pack."""

import shutil
import threading
import time

import pytest

from ipserver.errors import ClusterLost, StoreUnavailable
from ipserver.scheduling import assembly, hands
from ipserver.scheduling import dispatcher as dispatcher_module
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import Clock, clocked, ended, points, run_until
from tests.ipserver.support import small_spec, submit


def test_missing_data_fails_the_runs_with_reason_and_traceback(store, settings, executor, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    settings = settings.model_copy(update={"data": data})
    submit(store, small_spec(dataset="mnist"))

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    run = store.get_run("e", 0)
    assert run.state is RunState.FAILED
    assert run.failure.reason is FailureReason.DATA_UNAVAILABLE
    assert str(data) in run.failure.message
    assert "Traceback" in run.failure.traceback
    assert len(store.attempts("e", 0)) == 1


def test_a_full_artifact_folder_is_a_failure_with_a_reason(store, settings, executor):
    shutil.rmtree(settings.artifact_root.folder, ignore_errors=True)
    settings.artifact_root.folder.write_text("not a folder")
    submit(store, small_spec())

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert store.get_run("e", 0).failure.reason is FailureReason.TRAINING_ERROR
    assert "NotADirectoryError" in store.get_run("e", 0).failure.traceback


def test_an_experiment_that_cannot_be_planned_fails_alone(store, settings, executor):
    poison = small_spec()
    poison.dataset = "of-a-later-version"
    submit(store, poison, "poison", priority=1)
    submit(store, small_spec())

    run_until(Dispatcher(store, executor, settings, "d"), ended(store))

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    assert store.get_experiment("poison").state is ExperimentState.FAILED
    failure = store.get_run("poison", 0).failure
    assert failure.reason is FailureReason.DATA_UNAVAILABLE
    assert "planning: DataError: unknown dataset 'of-a-later-version'" in failure.message


def test_a_pack_whose_job_cannot_be_built_fails_alone(store, settings, executor, monkeypatch):
    submit(store, small_spec(), "poison")
    submit(store, small_spec(), "e")

    def job(pack, settings):
        if pack.experiment.id == "poison":
            raise RuntimeError("a defect")
        return assembly.make_job(pack, settings)

    monkeypatch.setattr(hands, "make_job", job)
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, ended(store))

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    assert "starting the pack: RuntimeError: a defect" in store.get_run("poison", 0).failure.message


class _HangingExecutor(LocalExecutor):
    """Real training, but while `hangs` is set the answers are held back, as by a stopped process."""

    hangs = True

    def ready(self, workers, timeout):
        return [] if self.hangs else super().ready(workers, timeout)


def test_a_worker_that_hangs_is_given_up(store, settings):
    executor, clock = _HangingExecutor(), Clock()
    submit(store, small_spec())
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=clock)
    dispatcher.step()
    clock.time += 59
    dispatcher.step()
    assert [attempt.end_reason for attempt in store.attempts("e", 0)] == [None]

    clock.time += 2
    dispatcher.step()
    executor.hangs = False
    run_until(dispatcher, ended(store))
    executor.close()

    assert [attempt.end_reason for attempt in store.attempts("e", 0)] == [FailureReason.WORKER_LOST, None]
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED


def test_an_outage_of_the_store_is_survived(tmp_path, monkeypatch):
    settings, store, clock = clocked(tmp_path, slice_seconds=1e-9)
    monkeypatch.setattr(dispatcher_module, "_OUTAGE_SECONDS", 0.01)
    submit(store, small_spec(steps=100))
    commit, outages = store.commit_slice, iter([StoreUnavailable("gone"), None, StoreUnavailable("gone")])

    def fragile(*arguments):
        if error := next(outages, None):
            clock.time += settings.lease_seconds  # so long that the lease cannot be renewed
            raise error
        return commit(*arguments)

    monkeypatch.setattr(store, "commit_slice", fragile)
    executor, stop = LocalExecutor(), threading.Event()
    dispatcher = Dispatcher(store, executor, settings, "d", monotonic=clock)
    thread = threading.Thread(target=dispatcher.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 180
    while not ended(store)():
        assert time.monotonic() < deadline, "the pack was not taken up again"
        time.sleep(0.05)
    stop.set()
    thread.join()
    executor.close()

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    reasons = [attempt.end_reason for attempt in store.attempts("e", 0)]
    assert reasons == [FailureReason.LEASE_LOST, FailureReason.LEASE_LOST, None]
    assert len({key for key in points(store) if key[1:] == ("train_loss", 100)}) == 4


def test_a_lost_cluster_ends_the_dispatcher_and_fails_nobody(store, settings, executor, monkeypatch):
    submit(store, small_spec())

    def lost():
        raise ClusterLost("no node is left")

    monkeypatch.setattr(executor, "nodes", lost)
    with pytest.raises(ClusterLost):
        Dispatcher(store, executor, settings, "d").run(threading.Event())

    assert store.get_experiment("e").counts[RunState.QUEUED] == 4


@pytest.mark.parametrize("draining", [False, True])
def test_a_cluster_lost_with_packs_in_hand_costs_them_no_attempt(
    store, settings, executor, monkeypatch, draining
):
    submit(store, small_spec(steps=100_000))
    stop, ready, told = threading.Event(), executor.ready, []

    def lost_after_a_while(*call):
        if store.get_experiment("e").committed_steps:
            told.append(True)
            if draining and not stop.is_set():
                stop.set()
            else:
                raise ClusterLost("Ray takes this process for dead")
        return ready(*call)

    monkeypatch.setattr(executor, "ready", lost_after_a_while)
    dispatcher = Dispatcher(store, executor, settings, "d")
    if draining:
        dispatcher.run(stop)
    else:
        with pytest.raises(ClusterLost):
            dispatcher.run(stop)

    assert told
    assert store.get_experiment("e").counts[RunState.QUEUED] == 4
    assert [(attempt.end_time is None, attempt.end_reason) for attempt in store.attempts("e", 0)] == [
        (False, None)
    ]
