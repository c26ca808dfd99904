"""Failpoints: their places and actions, and that they are inert by default."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from ipserver import failpoints
from ipserver.artifacts import open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.errors import ArtifactsUnavailable
from ipserver.forward.forwarder import Forwarder, Pass
from ipserver.forward.mlflow_sink import MlflowSink
from ipserver.ops.sweeper import Sweeper
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.records.audit import AuditedCall
from ipserver.store.records.experiments import Revision
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.studies.cases import ask, driver
from tests.ipserver.support import settings_in, small_spec, store_in, submit

PHASES = ("before", "during", "after")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "failpoints"
    folder.mkdir()
    monkeypatch.setattr(failpoints, "_folder", folder)
    monkeypatch.setattr(failpoints, "_passed", failpoints.Counter())
    return folder


def test_every_point_of_the_table_is_passed_and_no_other(tmp_path, folder, empty_mlflow, monkeypatch):
    passed = set()
    monkeypatch.setattr(failpoints, "_act", lambda file: passed.add(file.name))
    # A slice is one update, so the dispatcher stops long before the end.
    settings = settings_in(tmp_path, slice_seconds=1e-9, checkpoint_seconds=1e-9)
    store = store_in(settings)
    submit(store, small_spec())
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings, "d")
    for _ in range(2000):
        dispatcher.step()
        if store.get_experiment("e").committed_steps and "end.after" not in passed:
            dispatcher.drain()
        if store.get_experiment("e").state.terminal:
            break
    store.entry_of(AuditedCall("alice", "method", "experiments/e", "", "::1"), 1e9).finish("NOT_FOUND")
    store.update_experiment("e", Revision())
    store.retry_failed("e")
    store.delete_experiment("e", 1e-9)
    assert Sweeper(store, settings).purge() == 0
    ask(store)
    studies = driver(store)
    while not store.get_study("s").state.terminal:
        studies.step()
        while not store.idle():
            dispatcher.step()
    executor.close()
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    sink = MlflowSink(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "mlflow")
    forwarder = Forwarder(store, sink, settings.artifact_root, "f")
    while forwarder.step() is Pass.BUSY:
        pass

    assert sorted(passed) == sorted(f"{name}.{phase}" for name in failpoints.POINTS for phase in PHASES)


def run(folder, program, **options):
    """Run a program that passes points as another process."""
    return subprocess.run(
        [sys.executable, "-c", f"from ipserver.failpoints import hit, around\n{program}"],
        env=os.environ | {"IPLAB_FAILPOINTS": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def test_a_process_is_killed_once_at_the_wanted_time(folder):
    (folder / "commit.during").write_text("kill 3")
    program = "for n in range(5): print(n, flush=True); hit('commit.during')"

    first, second = run(folder, program), run(folder, program)

    assert (first.returncode, first.stdout.split()) == (-signal.SIGKILL, ["0", "1", "2"])
    assert (second.returncode, second.stdout.split()) == (0, ["0", "1", "2", "3", "4"])
    assert [path.name for path in folder.iterdir()] == ["commit.during.reached"]


def test_a_process_waits_until_it_is_let_go(folder):
    (folder / "commit.after").write_text("wait")
    process = subprocess.Popen(
        [sys.executable, "-c", "from ipserver.failpoints import around\nwith around('commit'): pass"],
        env=os.environ | {"IPLAB_FAILPOINTS": str(folder)},
    )
    try:
        deadline = time.monotonic() + 60
        while not (folder / "commit.after.reached").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        (folder / "commit.after.reached").unlink()
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()


def test_a_disk_is_full_for_as_long_as_the_test_wants(tmp_path, folder):
    files = open_artifacts(ArtifactRoot(str(tmp_path / "files")))
    write = failpoints.then(lambda path: path.write_text("x"), "weights.during")
    (folder / "weights.during").write_text("full 2")

    files.put("e/1", write)
    for _ in range(2):
        with pytest.raises(ArtifactsUnavailable, match="No space left on device"):
            files.put("e/2", write)
    (folder / "weights.during").unlink()
    files.put("e/2", write)

    assert sorted(files.below("e")) == ["e/1", "e/2"]


def test_a_misspelled_action_is_an_error(folder):
    (folder / "commit.before").write_text("explode")
    with pytest.raises(ValueError, match="says 'explode', not kill, wait or full"):
        failpoints.hit("commit.before")


def test_they_are_off_unless_the_variable_is_set():
    clean = {name: value for name, value in os.environ.items() if name != "IPLAB_FAILPOINTS"}
    program = "from ipserver import failpoints; print(failpoints._folder)"
    done = subprocess.run([sys.executable, "-c", program], env=clean, capture_output=True, check=True)
    assert done.stdout.strip() == b"None"


def test_when_they_are_off_they_cost_nothing_measurable():
    """A slice of one second passes about ten points; here a hundred points take less than 0.1 ms."""
    assert failpoints._folder is None
    assert min(_seconds(100) for _ in range(20)) < 1e-4


def _seconds(count):
    begin = time.perf_counter()
    for _ in range(count):
        failpoints.hit("commit.before")
    return time.perf_counter() - begin
