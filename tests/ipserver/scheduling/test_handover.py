"""A worker whose pack is finished gets the next pack before the last slice of the first is committed."""

import pytest

from ipserver.errors import DatasetChanged, Fenced, StoreUnavailable
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import clocked, ended, run_until
from tests.ipserver.support import small_spec, submit


class OneWorker(LocalExecutor):
    """One thread at a time; records its calls, and holds back answers on demand."""

    def __init__(self, told):
        super().__init__(cpus=1)
        self._told = told
        self.silent = False

    def ready(self, workers, timeout):
        return [] if self.silent else super().ready(workers, timeout)

    def start(self, job):
        self._told.append(f"start {job.pack}")
        return super().start(job)


@pytest.fixture
def told():
    return []


@pytest.fixture
def case(tmp_path, told):
    """Two packs of two runs, one slice each, and one worker."""
    settings, store, clock = clocked(tmp_path, slice_seconds=60, max_pack_runs=2, checkpoint_seconds=1e9)
    submit(store, small_spec())
    worker = OneWorker(told)
    yield settings, store, clock, worker
    worker.close()


def before_commits(store, monkeypatch, act):
    """Have `act(pack)` called just before a last slice is committed."""
    commit_slice = store.commit_slice

    def commit(experiment, pack, token, commit):
        assert commit.finished
        act(pack)
        return commit_slice(experiment, pack, token, commit)

    monkeypatch.setattr(store, "commit_slice", commit)


def attempts(store):
    return [len(store.attempts("e", run.index)) for run in store.list_runs("e", limit=10)]


def test_the_next_pack_starts_before_the_last_commit(case, told, monkeypatch):
    settings, store, _, worker = case
    dispatcher = Dispatcher(store, worker, settings, "d")
    before_commits(store, monkeypatch, lambda pack: told.append(f"commit {pack}"))

    run_until(dispatcher, ended(store))

    assert told == ["start p0000", "start p0001", "commit p0000", "commit p0001"]
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED


def test_its_lease_is_renewed_while_the_commit_lasts(case, monkeypatch):
    settings, store, clock, worker = case
    dispatcher = Dispatcher(store, worker, settings, "d")

    def wait(_):
        for _ in range(3):
            clock.time += 0.7 * settings.lease_seconds
            dispatcher.renew()
            assert store.reap_expired() == 0

    before_commits(store, monkeypatch, wait)

    run_until(dispatcher, ended(store))

    assert attempts(store) == [1, 1, 1, 1]


def test_a_fenced_commit_does_not_touch_the_pack_that_has_the_worker(case, monkeypatch):
    settings, store, clock, worker = case
    dispatcher = Dispatcher(store, worker, settings, "d")
    cut_off = []

    def overtake(pack):
        if pack == "p0000" and not cut_off:
            cut_off.append(pack)
            raise Fenced("somebody else leads it")

    before_commits(store, monkeypatch, overtake)
    run_until(dispatcher, lambda: len(store.list_runs("e", limit=10)) == 4 and cut_off)
    clock.time += 2 * settings.lease_seconds  # for both packs; the second lease is renewed while it is held
    dispatcher.renew()
    store.reap_expired()

    run_until(dispatcher, ended(store))

    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    assert attempts(store) == [2, 2, 1, 1]


def test_data_that_changed_fails_the_first_pack_alone(case, monkeypatch):
    settings, store, _, worker = case
    dispatcher = Dispatcher(store, worker, settings, "d")

    def change(pack):
        if pack == "p0000":
            raise DatasetChanged("other numbers")

    before_commits(store, monkeypatch, change)

    run_until(dispatcher, ended(store))

    runs = store.list_runs("e", limit=10)
    assert [run.state for run in runs] == [RunState.FAILED] * 2 + [RunState.SUCCEEDED] * 2
    assert runs[0].failure.reason is FailureReason.DATA_UNAVAILABLE


def test_what_is_trained_is_committed_even_if_no_other_pack_can_be_had(case, monkeypatch):
    settings, store, _, worker = case
    dispatcher = Dispatcher(store, worker, settings, "d")
    place, placed = store.place, []

    def place_once(*call):
        if placed:
            raise StoreUnavailable("for a moment")
        placed.append(call)
        return place(*call)

    monkeypatch.setattr(store, "place", place_once)
    with pytest.raises(StoreUnavailable):
        run_until(dispatcher, ended(store))

    states = [run.state for run in store.list_runs("e", limit=10)]
    assert states == [RunState.SUCCEEDED] * 2 + [RunState.QUEUED] * 2


def test_a_dispatcher_that_is_told_to_stop_starts_nothing_more(case, told):
    settings, store, _, worker = case
    dispatcher = Dispatcher(store, worker, settings, "d")
    worker.silent = True
    dispatcher.step()
    worker.silent = False

    dispatcher.drain()

    assert told == ["start p0000"]
    states = [run.state for run in store.list_runs("e", limit=10)]
    assert states[2:] == [RunState.QUEUED] * 2
    assert RunState.RUNNING not in states
