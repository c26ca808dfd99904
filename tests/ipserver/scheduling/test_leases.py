"""Leases and fencing, with real processes on SQLite and PostgreSQL."""

import contextlib
import os
import signal
import time

import pytest

from ipserver.artifacts import open_artifacts
from ipserver.ops.sweeper import Sweeper
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import open_store
from ipserver.store.states import ExperimentState, FailureReason, RunState
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.scheduling.cases import clocked, ended, points, run_until, step
from tests.ipserver.scheduling.process import Process
from tests.ipserver.store.conftest import dsn  # noqa: F401  (a fixture)
from tests.ipserver.support import settings_in, small_spec, submit


@pytest.fixture
def at(dsn, tmp_path):  # noqa: F811
    """Settings on a database that other processes can reach."""

    def made(**options):
        return settings_in(tmp_path / "home", store=dsn, **options)

    return made


@contextlib.contextmanager
def dispatching(settings, owner, skew=0.0, **variables):
    """A dispatcher process; killed at the end if it has not ended."""
    settings.home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | settings.environment() | variables
    process = Process(owner, skew, environment, settings.home / f"{owner}.log")
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGKILL)
        process.wait()


def wait_for(condition, process, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.log.read_text()
        assert time.monotonic() < deadline, process.log.read_text()
        time.sleep(0.02)


def lead(dispatcher, condition, seconds=180):
    """Work with one dispatcher in this process, its lease renewed, until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not reached"
        step(dispatcher)
        dispatcher.renew()


def ends_well(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0, process.log.read_text()


def expiry(store):
    """When the lease of the only pack ends."""
    with store.database.engine.connect() as connection:
        return connection.exec_driver_sql("SELECT expires FROM packs").scalar()


def end_lease(store):
    """Let the lease of the only pack end now, without a wait."""
    with store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE packs SET expires = 0")


def test_a_dispatcher_that_was_stopped_cannot_commit_when_it_wakes(at, tmp_path):
    settings = at(lease_seconds=3.0, slice_seconds=1e-9, checkpoint_seconds=1e9)
    failpoints = tmp_path / "failpoints"
    failpoints.mkdir()
    (failpoints / "commit.before").write_text("wait 3")
    executor = LocalExecutor(cpus=1)
    with (
        open_store(settings.store_dsn) as store,
        dispatching(settings, "sleeper", IPLAB_FAILPOINTS=str(failpoints)) as sleeper,
    ):
        submit(store, small_spec(steps=30))
        # It has a trained slice. Just after it has renewed its lease, it is in no transaction.
        wait_for((failpoints / "commit.before.reached").exists, sleeper)
        before = expiry(store)
        wait_for(lambda: expiry(store) != before, sleeper)
        sleeper.send_signal(signal.SIGSTOP)
        (failpoints / "commit.before.reached").unlink()
        committed = store.get_run("e", 0).committed_steps
        assert committed > 0
        end_lease(store)

        # The next dispatcher trains the steps after the last checkpoint again, and continues.
        successor = Dispatcher(store, executor, settings, "successor")
        lead(successor, lambda: store.get_run("e", 0).committed_steps > committed)
        at_waking = store.get_run("e", 0).committed_steps
        sleeper.send_signal(signal.SIGCONT)
        fenced = "pack p0000 of e is led by another dispatcher"
        wait_for(lambda: successor.renew() or fenced in sleeper.log.read_text(), sleeper)
        assert store.get_run("e", 0).committed_steps == at_waking

        lead(successor, ended(store))
        ends_well(sleeper)

        assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
        attempts = [(it.owner, it.end_reason) for it in store.attempts("e", 0)]
        assert attempts == [("sleeper", FailureReason.LEASE_LOST), ("successor", None)]
        recorded = points(store)  # checks that no point is there twice
        assert {step for run, metric, step in recorded if (run, metric) == (0, "train_loss")} == {
            1,
            *range(10, 31, 10),
        }
        assert all(
            "/2/" in store.get_artifact("e", i, "weights/final.safetensors").location for i in range(4)
        )
    executor.close()


def test_all_die_while_the_clock_is_an_hour_ahead(at):
    """After the clock is corrected, the next dispatcher continues at once, before the lease ends."""
    settings = at(slice_seconds=1e-9, lease_seconds=15.0)
    executor = LocalExecutor(cpus=1)
    with open_store(settings.store_dsn, clock=lambda: time.time() + 3600.0) as store:
        submit(store, small_spec(steps=30))
        dead = Dispatcher(store, executor, settings, "dead")
        lead(dead, lambda: store.get_run("e", 0).committed_steps > 0)
        assert store.acquire_lease("forwarder", "dead", 30.0)
    executor.close()  # nothing is given back

    executor = LocalExecutor(cpus=1)
    with open_store(settings.store_dsn) as store:
        alive = Dispatcher(store, executor, settings, "alive")
        alive.step()
        assert [it.end_reason for it in store.attempts("e", 0)][:1] == [FailureReason.LEASE_LOST]
        assert store.acquire_lease("forwarder", "alive", 30.0)
        lead(alive, ended(store))
        assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
        assert [it.owner for it in store.attempts("e", 0)] == ["dead", "alive"]
    executor.close()


def test_a_clock_that_is_set_takes_nothing_from_the_living(at):
    """Back by an hour, and forward by an hour, while a dispatcher works alone."""
    settings = at(slice_seconds=1e-9, lease_seconds=0.5)
    ahead = [3600.0]
    executor = LocalExecutor(cpus=1)
    with open_store(settings.store_dsn, clock=lambda: time.time() + ahead[0]) as store:
        submit(store, small_spec(steps=40))
        dispatcher = Dispatcher(store, executor, settings, "alive")
        for skew, steps in ((0.0, 1), (3600.0, 20)):
            lead(dispatcher, lambda steps=steps: store.get_run("e", 0).committed_steps >= steps)
            ahead[0] = skew
        lead(dispatcher, ended(store))
        assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
        assert [(it.owner, it.end_reason) for it in store.attempts("e", 0)] == [("alive", None)]
    executor.close()


def test_dispatchers_whose_clocks_disagree_share_the_work(at, tmp_path):
    """One is an hour ahead, one an hour behind: only the store's clock decides about leases."""
    # A slice is one update, so the first one of a pack is not the last one.
    settings, failpoints = at(slice_seconds=1e-9), tmp_path / "failpoints"
    failpoints.mkdir()
    held, variables = failpoints / "commit.before.reached", {"IPLAB_FAILPOINTS": str(failpoints)}
    executor = LocalExecutor(cpus=1)
    with (
        open_store(settings.store_dsn) as store,
        dispatching(settings, "ahead", 3600.0, **variables) as ahead,
        dispatching(settings, "behind", -3600.0, **variables) as behind,
    ):
        submit(store, small_spec(steps=2), "warm-up")
        wait_for(ended(store, "warm-up"), ahead)
        # One of the two stays in its first pack until there is nothing else to do.
        (failpoints / "commit.before").write_text("wait")
        grid = {"widths": [8, 12, 16, 20], "activations": ["relu", "tanh"]}
        submit(store, small_spec(grid=grid, steps=4))
        wait_for(held.exists, ahead)
        here = Dispatcher(store, executor, settings, "here")
        lead(here, lambda: store.get_experiment("e").counts[RunState.SUCCEEDED] == 28, 240)
        held.unlink()
        lead(here, ended(store), 240)

        assert store.get_experiment("e").counts[RunState.SUCCEEDED] == 32
        tried = {run.pack: store.attempts("e", run.index) for run in store.list_runs("e", limit=100)}
        assert len(tried) == 8
        assert all(len(attempts) == 1 for attempts in tried.values()), "nobody took anything from anybody"
        owners = {attempts[0].owner for attempts in tried.values()}
        assert len(owners) >= 2, owners
        assert len([key for key in points(store) if key[1:] == ("train_loss", 4)]) == 32
        assert store.idle()
        ends_well(ahead)
        ends_well(behind)
    executor.close()


def test_what_a_zombie_trainer_writes_is_ignored_and_removed(tmp_path):
    """Its dispatcher is cut off, as when a raylet dies, so it is not stopped and trains to the end."""
    settings, store, clock = clocked(tmp_path, slice_seconds=1e-9, checkpoint_seconds=1e-9, sweep_seconds=60)
    files = open_artifacts(settings.artifact_root)
    submit(store, small_spec(steps=20))
    executor = LocalExecutor()
    cut_off = Dispatcher(store, executor, settings, "cut-off")
    run_until(cut_off, lambda: store.get_experiment("e").committed_steps > 0)
    (zombie,) = (placed.worker for placed in cut_off._hands.placed)

    clock.time += settings.lease_seconds
    run_until(Dispatcher(store, executor, settings, "next"), ended(store))
    weights = "e/weights/p0000/{}/r00000-final.safetensors"
    while not files.size(weights.format(1)):
        zombie.advance(frozenset())
        time.sleep(0.01)

    assert [it.end_reason for it in store.attempts("e", 0)] == [FailureReason.LEASE_LOST, None]
    named = {store.get_artifact("e", run, "weights/final.safetensors").location for run in range(4)}
    assert named == {weights.format(2).replace("r00000", f"r0000{run}") for run in range(4)}
    left = set(files.below("e")) - named
    assert {place.split("/")[-2] for place in left if "weights" in place} == {"1"}
    assert any(place.startswith("e/checkpoints/p0000/1/") for place in left)
    committed = store.get_experiment("e").sequence
    run_until(cut_off, lambda: not cut_off._hands.placed)  # its arrived slices are refused
    assert store.get_experiment("e").sequence == committed
    executor.close()

    assert Sweeper(store, settings).sweep() == 0, "somebody may still be writing"
    clock.time += 60
    assert Sweeper(store, settings).sweep() == 1
    assert set(files.below("e")) == named
