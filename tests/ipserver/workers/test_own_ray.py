"""Folder, token and processes of our own Ray, tested without Ray; test_ray_executor.py has a real one."""

import itertools
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ipserver.errors import NotReady, StartupError
from ipserver.workers.on_ray import cluster, processes
from ipserver.workers.on_ray import folder as own_folder
from ipserver.workers.on_ray.cluster import object_folder
from ipserver.workers.on_ray.folder import own_token, ray_folder
from ipserver.workers.on_ray.processes import ending, surrounded

SLEEPER = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]


@pytest.fixture
def short(monkeypatch):
    """A folder with a short path, the only temporary one."""
    with tempfile.TemporaryDirectory(prefix="m", dir="/tmp") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.setattr(own_folder, "_SHORT", ())
        yield Path(name)


def test_it_lies_in_the_home_folder(short):
    home = short / "home"
    home.mkdir()
    (home / "ray-abandoned").mkdir()

    with ray_folder(home) as folder:
        assert folder.parent == home
        assert [path for path in home.iterdir() if path.name.startswith("ray-")] == [folder]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["h" * 60, "é" * 20])
def test_a_long_home_leaves_it_to_a_temporary_folder(short, name):
    home = short / name
    home.mkdir()

    with ray_folder(home) as folder:
        assert folder.parent == short
        assert folder.name.startswith(f"iplab-{os.getuid()}-")
        assert len(os.fsencode(folder)) + len(own_folder._SOCKET) <= 107


def test_a_path_that_just_fits_is_used(short):
    room = own_folder._LONGEST - len("/ray-12345678") - len(os.fsencode(short)) - 1
    for length, fits in ((room, True), (room + 1, False)):
        home = short / ("h" * length)
        home.mkdir()
        with ray_folder(home) as folder:
            assert (folder.parent == home) is fits


@pytest.mark.parametrize("name", ["jürgen", "日本", "l'été", "d'or", 'a"b', "a\\b", "a\nb"])
def test_a_home_whose_letters_ray_cannot_use_leaves_it_to_a_temporary_folder(short, name):
    home = short / name
    home.mkdir()
    with ray_folder(home) as folder:
        assert folder.parent == short


@pytest.mark.parametrize("name", ["a b", "a%d&;#", "{b}$*", "(x)~"])
def test_a_home_with_other_letters_is_used(short, name):
    home = short / name
    home.mkdir()
    with ray_folder(home) as folder:
        assert folder.parent == home


def test_without_a_place_the_settings_are_named(short, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(short / "missing"))
    with pytest.raises(StartupError) as caught:
        ray_folder(Path("/proc/nowhere"))

    text = str(caught.value)
    assert f"{short}/missing: No such file or directory" in text
    assert "IPLAB_HOME or TMPDIR" in text


def test_the_token_is_for_its_owner_alone_and_stays(tmp_path):
    token = own_token(tmp_path)
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    first = token.read_text()
    assert len(first) == 64

    token.chmod(0o644)
    assert own_token(tmp_path).read_text() == first
    assert stat.S_IMODE(token.stat().st_mode) == 0o600

    token.write_text("")  # as after a full disk
    assert len(own_token(tmp_path).read_text()) == 64
    assert list(tmp_path.iterdir()) == [token]


@pytest.mark.parametrize("left", [None, "", "\n"], ids=["new", "empty", "blank"])
def test_dispatchers_that_start_at_once_get_the_same_token(tmp_path, monkeypatch, left):
    """Ray's processes read the file at different times: a token that is replaced locks out some of them."""
    if left is not None:
        (tmp_path / "ray-token").write_text(left)
    numbers, together = itertools.count(), threading.Barrier(8)

    def new_token():
        time.sleep(0.05)  # the others ask meanwhile
        return f"{next(numbers):064}"

    def started(_):
        together.wait(60)
        return own_token(tmp_path).read_text()

    monkeypatch.setattr(own_folder, "_new_token", new_token)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(started, range(8))) == {"0" * 64}
    assert next(numbers) == 1


def test_what_is_started_there_outlasts_a_sigterm_and_is_ended_with_its_children(tmp_path):
    """Like Ray's raylet with a worker as its child."""
    here = Path.cwd()
    with surrounded(tmp_path, shielded=True) as started:
        script = "import subprocess, sys; child = subprocess.Popen(sys.argv[1:]); child.wait()"
        parent = subprocess.Popen([sys.executable, "-c", script, *SLEEPER], stdout=subprocess.PIPE, text=True)
        assert Path.cwd() == tmp_path
    assert Path.cwd() == here
    assert parent.stdout.readline() == "ready\n"
    assert started == {parent.pid}
    (child,) = processes._children(parent.pid)
    assert Path(f"/proc/{child}/cwd").resolve() == tmp_path
    for pid in (parent.pid, child):
        os.kill(pid, signal.SIGTERM)
    time.sleep(0.2)
    assert parent.poll() is None

    with ending(started, lambda: True):
        assert parent.wait(20) == -signal.SIGKILL
    assert not processes._children(parent.pid)
    assert not alive(child)
    parent.stdout.close()


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_only_what_was_started_there_is_ended(tmp_path):
    other = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, text=True)
    try:
        other.stdout.readline()
        with surrounded(tmp_path, shielded=True) as started:
            pass
        with ending(started, lambda: True):
            pass
        assert started == set()
        assert other.poll() is None
        other.terminate()  # it is not shielded
        assert other.wait(20) == -signal.SIGTERM
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_a_stop_that_comes_meanwhile_is_heard_afterwards(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("ours"))
    try:
        with surrounded(tmp_path, shielded=True):
            signal.signal(signal.SIGTERM, lambda *_: heard.append("Ray's"))
            # Not to the process: other threads of it, such as those of other tests, may take it.
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert heard == []
        assert heard == ["ours"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_removed_working_folder_is_no_trouble(tmp_path):
    script = """
import os, sys
from pathlib import Path
from ipserver.workers.on_ray.processes import surrounded
os.rmdir(os.getcwd())
with surrounded(Path(sys.argv[1]), shielded=True):
    print(os.getcwd())
"""
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, str(tmp_path)],
        cwd=gone,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(tmp_path)


def test_what_still_works_in_the_folder_is_ended_and_nothing_else(tmp_path):
    inside, outside = tmp_path / "ray" / "deep", tmp_path / "other"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
    left, other = (subprocess.Popen(["sleep", "60"], cwd=folder) for folder in (inside, outside))
    try:
        processes.end_left_in(tmp_path / "ray")
        assert left.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


class RayThatStarts:
    """Stands for Ray's start, which cannot be made to fail at will: it fails the given number of times.

    Each time it leaves a process that works in the folder, as a node does that has started too late.
    """

    def __init__(self, failures):
        self.failures, self.left, self.folders = failures, [], []

    def init(self, **options):
        self.folders.append(Path(options["_temp_dir"]).parent)
        if len(self.folders) > self.failures:
            return
        self.left.append(subprocess.Popen(SLEEPER, cwd=self.folders[-1], stdout=subprocess.PIPE))
        self.left[-1].stdout.readline()
        raise Exception("The current node timed out during startup.")

    def shutdown(self):
        pass

    def is_initialized(self):
        return False


def test_ray_that_has_not_started_is_started_again_in_a_new_folder(short, monkeypatch):
    started = RayThatStarts(failures=2)
    monkeypatch.setattr(cluster, "ray", started)
    own = cluster.OwnRay(1, None)

    assert [process.wait(10) for process in started.left] == [-signal.SIGKILL] * 2
    assert [folder.exists() for folder in started.folders] == [False, False, True]
    own.end()
    assert not started.folders[-1].exists()


def test_ray_that_never_starts_is_an_error_for_people(short, monkeypatch):
    started = RayThatStarts(failures=9)
    monkeypatch.setattr(cluster, "ray", started)
    with pytest.raises(NotReady, match=r"tried 3 times: The current node timed out .* very busy"):
        cluster.OwnRay(1, None)

    assert [process.wait(10) for process in started.left] == [-signal.SIGKILL] * 3
    assert not any(folder.exists() for folder in started.folders)


def test_objects_lie_in_rays_folder_where_there_is_no_shared_memory(tmp_path):
    assert object_folder(tmp_path, shared=tmp_path) is None
    assert object_folder(tmp_path, shared=tmp_path / "missing") == str(tmp_path)
