"""Files that remain of packs after their end, in a folder and in S3."""

import threading
import time

import pytest

from ipserver.artifacts import open_artifacts
from ipserver.errors import ArtifactsUnavailable, NotFound
from ipserver.ops.sweeper import Sweeper
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.states import ExperimentState
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.scheduling.cases import run_until
from tests.ipserver.support import settings_in, small_spec, store_in, submit


@pytest.fixture(params=["folder", "s3"])
def settings(request, tmp_path):
    options = {"checkpoint_seconds": 1e-9, "sweep_seconds": 1e-3}
    if request.param == "s3":
        s3 = request.getfixturevalue("s3")
        keys = {"s3_access_key_id": KEY, "s3_secret_access_key": SECRET}
        options |= {"artifacts": s3.root().url, "s3_endpoint_url": s3.endpoint, **keys}
    return settings_in(tmp_path, **options)


@pytest.fixture
def store(settings):
    return store_in(settings)


@pytest.fixture
def files(settings):
    return open_artifacts(settings.artifact_root)


def train_until(store, settings, condition):
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d")
    run_until(dispatcher, condition)
    dispatcher.drain()
    executor.close()


def ended(store):
    return lambda: store.get_experiment("e").state.terminal


def committed(store):
    return {record.location for index in range(4) for record in store.artifacts("e", index)}


def junk(files, *locations):
    for location in locations:
        files.put(location, lambda path: path.write_text("left by a worker that was cut off"))


def test_only_what_commits_have_named_is_left(store, settings, files):
    submit(store, small_spec(steps=60, record={"weights": "initial_and_final"}))
    train_until(store, settings, ended(store))
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    junk(
        files,
        "e/weights/p0000/7/r00000-final.safetensors",  # of a later token that never committed
        "e/weights/p0000/1/.r00003-final.safetensors.1234.new",  # its writer was killed
        "e/checkpoints/p0000/1/step-00000099.safetensors",  # written after the pack had ended
    )
    named = committed(store)
    assert len(named) == 8

    assert Sweeper(store, settings).sweep() == 1
    assert set(files.below("e")) == named
    assert Sweeper(store, settings).sweep() == 0


def test_a_pack_that_was_cancelled_while_it_waited_leaves_nothing(store, settings, files):
    submit(store, small_spec(steps=2000))
    train_until(store, settings, lambda: store.get_experiment("e").committed_steps > 0)
    assert any("/checkpoints/" in place for place in files.below("e"))

    store.cancel_experiment("e")
    Sweeper(store, settings).sweep()

    assert list(files.below("e")) == []


def test_a_live_pack_and_other_experiments_are_left_alone(store, settings, files):
    submit(store, small_spec(steps=2000))
    train_until(store, settings, lambda: store.get_experiment("e").committed_steps > 0)
    junk(
        files,
        "e/weights/p0000/1/.r00000-final.safetensors.1.new",
        "e2/weights/p0000/1/r00000-final.safetensors",
    )
    before = set(files.below(""))

    assert Sweeper(store, settings).sweep() == 0

    assert set(files.below("")) == before


def test_a_pack_is_swept_again_if_the_first_time_failed(store, settings, files, monkeypatch):
    submit(store, small_spec())
    train_until(store, settings, ended(store))
    junk(files, "e/weights/p0000/9/r00000-final.safetensors")
    sweeper = Sweeper(store, settings)

    def refuse(_):
        raise ArtifactsUnavailable("no answer")

    monkeypatch.setattr(sweeper._artifacts, "delete", refuse)
    with pytest.raises(ArtifactsUnavailable):
        sweeper.sweep()

    Sweeper(store, settings).sweep()
    assert set(files.below("e")) == committed(store)


def test_it_works_until_it_is_stopped(store, settings, files):
    submit(store, small_spec())
    train_until(store, settings, ended(store))
    junk(files, "e/weights/p0000/9/r00000-final.safetensors")
    stop = threading.Event()
    thread = threading.Thread(target=Sweeper(store, settings).run, args=(stop,))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while set(files.below("e")) != committed(store):
            assert time.monotonic() < deadline, "not removed"
            stop.wait(0.02)
    finally:
        stop.set()
        thread.join()


def test_a_file_that_cannot_be_removed_holds_up_no_other(store, settings, files, monkeypatch, caplog):
    for experiment in ("e", "f"):
        submit(store, small_spec(), experiment)
    train_until(store, settings, lambda: all(store.get_experiment(one).state.terminal for one in "ef"))
    stuck, loose = (f"{one}/weights/p0000/9/r00000-final.safetensors" for one in "ef")
    junk(files, stuck, loose)
    sweeper = Sweeper(store, settings)
    delete = sweeper._artifacts.delete

    def refuse_one(locations):
        if stuck in locations:
            raise PermissionError(1, "Operation not permitted")
        delete(locations)

    monkeypatch.setattr(sweeper._artifacts, "delete", refuse_one)
    assert sweeper.sweep() == 1
    assert files.size(loose) is None
    assert "e: files to be removed stay for now: [Errno 1] Operation not permitted" in caplog.text
    monkeypatch.undo()
    assert sweeper.sweep() == 1
    assert files.size(stuck) is None


def test_work_that_fails_holds_up_no_other_and_a_defect_ends_no_thread(store, settings, monkeypatch, caplog):
    sweeper, stop, done = Sweeper(store, settings), threading.Event(), []

    def broken():
        raise ValueError("a defect")

    def away():
        raise ArtifactsUnavailable("no answer")

    def purge():
        done.append("purge")
        if len(done) == 2:
            stop.set()
        return 0

    for name, work in (("sweep", broken), ("retire", away), ("purge", purge)):
        monkeypatch.setattr(sweeper, name, work)
    sweeper.run(stop)
    assert done == ["purge", "purge"]
    assert "ValueError: a defect" in caplog.text
    assert "files to be removed stay for now: no answer" in caplog.text


def test_of_a_purged_experiment_nothing_is_left(store, settings, files, monkeypatch, caplog):
    submit(store, small_spec(record={"weights": "initial_and_final"}))
    train_until(store, settings, ended(store))
    junk(files, "e2/weights/p0000/1/r00000-final.safetensors")
    store.delete_experiment("e", 1e6)
    sweeper = Sweeper(store, settings)
    assert sweeper.purge() == 0
    assert set(files.below("e")) >= committed(store)
    store.purge_experiment("e")
    time.sleep(2 * settings.sweep_seconds)

    with monkeypatch.context() as patched:
        patched.setattr(sweeper._artifacts, "delete_folder", lambda _: None)
        assert sweeper.purge() == 0
    assert "e: files to be removed stay for now: e/" in caplog.text
    assert len(committed(store)) == 8, "what could not be removed is not forgotten"

    assert sweeper.purge() == 1
    assert set(files.below("")) == {"e2/weights/p0000/1/r00000-final.safetensors"}
    with pytest.raises(NotFound):
        store.get_experiment("e")
    assert sweeper.purge() == 0


def test_what_a_project_no_longer_keeps_is_deleted(store, settings):
    submit(store, small_spec())
    store.cancel_experiment("e")
    sweeper = Sweeper(store, settings)
    assert sweeper.retire() == 0
    store.accounts.set_quota("*", "", "retention_days", 0.0)
    assert sweeper.retire() == 1
    record = store.get_experiment("e")
    assert record.purge_time == record.delete_time + settings.deleted_seconds
    assert sweeper.retire() == 0
