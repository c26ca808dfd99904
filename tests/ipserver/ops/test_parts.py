"""Parts as processes: they end with a message and a status if they cannot start, or wait."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from ipserver.cli import main
from ipserver.errors import NotReady, StartupError
from ipserver.ops.parts import run_dispatch, stop_event
from ipserver.ops.startup import check_data
from ipserver.store import migrate
from ipserver.store.states import ExperimentState
from tests.ipserver.serving import wait_for
from tests.ipserver.support import settings_in, small_spec, store_in, submit


def start(*words, log, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
    command = [sys.executable, "-m", "ipserver", *words]
    return subprocess.Popen(command, env=clean | environment, stdout=log, stderr=log)


@pytest.mark.parametrize("part", ["api", "dispatch", "migrate", "up"])
def test_every_part_ends_with_a_message_and_a_status(part, tmp_path, nowhere):
    """In this process; the forwarder, which lowers its priority, is a process of its own below."""
    done = CliRunner().invoke(main, [part], env=with_a_store_that_does_not_answer(tmp_path, nowhere))

    assert done.exit_code == 2
    says_what_is_wrong_with_the_store(done.output)


def test_a_forwarder_ends_with_a_message_and_a_status(tmp_path, nowhere):
    with (tmp_path / "log").open("ab") as log:
        process = start("forward", log=log, **with_a_store_that_does_not_answer(tmp_path, nowhere))
        assert process.wait(120) == 2

    says_what_is_wrong_with_the_store((tmp_path / "log").read_text())


def with_a_store_that_does_not_answer(home, nowhere):
    return {
        "IPLAB_HOME": str(home),
        "IPLAB_ADDRESS": "127.0.0.1:0",
        "IPLAB_STORE": f"postgresql+psycopg://lab:hidden@{nowhere}/iplab",
    }


def says_what_is_wrong_with_the_store(told):
    assert "ipserver: IPLAB_STORE: the store postgresql+psycopg://lab:***@" in told
    assert "Traceback" not in told
    assert "hidden" not in told


def test_a_supervised_forwarder_waits_for_mlflow_until_its_supervisor_ends(tmp_path, nowhere):
    store_in(settings_in(tmp_path)).close()
    told = tmp_path / "log"
    supervisor, ours = os.pipe()
    with told.open("ab") as log:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
        variables = {"IPLAB_MLFLOW_TRACKING_URI": f"http://{nowhere}", "IPLAB_SUPERVISED": "1"}
        command = [sys.executable, "-m", "ipserver", "forward", "--home", str(tmp_path)]
        process = subprocess.Popen(command, env=clean | variables, stdin=supervisor, stdout=log, stderr=log)
    os.close(supervisor)
    try:
        deadline = time.monotonic() + 120
        while told.read_text().count("not ready, tried until it is") < 2:
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.close(ours)
        assert process.wait(120) == 0


def test_a_missing_secret_file_ends_a_part(tmp_path):
    done = CliRunner().invoke(main, ["api"], env={"IPLAB_SECRETS": str(tmp_path / "secrets")})

    assert done.exit_code == 2
    assert f"ipserver: IPLAB_SECRETS: cannot read the folder {tmp_path}/secrets" in done.output


def test_a_part_waits_for_its_tables(tmp_path):
    told = tmp_path / "log"

    def wait_until_told(text):
        deadline = time.monotonic() + 120
        while text not in told.read_text():
            assert api.poll() is None, told.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with told.open("ab") as log:
        words = ["api", "--home", str(tmp_path), "--address", "127.0.0.1:0"]
        api = start(*words, log=log, IPLAB_WAIT_SECONDS="60")
        try:
            wait_until_told("has no tables yet")
            migrate(settings_in(tmp_path).store_dsn)
            wait_until_told("listening on port")
        finally:
            api.terminate()
            assert api.wait(120) == 0


def test_a_ray_of_its_own_is_not_told_to_expect_nodes(tmp_path):
    settings = settings_in(tmp_path / "home", expected_nodes='[{"cpus": 8}]')

    with pytest.raises(
        StartupError, match=r"IPLAB_EXPECTED_NODES: the dispatcher's own Ray.*IPLAB_RAY_ADDRESS"
    ):
        run_dispatch(settings)
    assert not settings.home.exists()


@pytest.mark.ray
def test_a_library_that_does_not_load_in_workers_is_reported_as_it_is(tmp_path):
    # A folder into which pip has installed: what lies there replaces nothing by mistake.
    broken = tmp_path / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken.parent / "torch-2.0.dist-info").mkdir()
    # A half-loaded torch fails for another reason when it is imported again.
    (broken / "__init__.py").write_text(
        "import builtins\n"
        "if hasattr(builtins, 'tried'): raise RuntimeError('registered already')\n"
        "builtins.tried = True\n"
        "raise ImportError('libtorch_cpu.so: cannot open shared object file')"
    )
    settings = settings_in(tmp_path / "home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
    variables = {"PYTHONPATH": str(broken.parent), "IPLAB_READY_WORKERS": "1"}
    command = [sys.executable, "-m", "ipserver", "dispatch", "--home", str(settings.home)]
    with store_in(settings) as store, (tmp_path / "log").open("ab") as log:
        submit(store, small_spec())
        dispatcher = subprocess.Popen(command, env=environment | variables, stdout=log, stderr=log)
        try:
            wait_for(lambda: store.get_experiment("e").state.terminal or dispatcher.poll() is not None)
        finally:
            dispatcher.send_signal(signal.SIGTERM)
            assert dispatcher.wait(120) == 0, (tmp_path / "log").read_text()
        assert store.get_experiment("e").state is ExperimentState.FAILED
        failure = store.get_run("e", 0).failure
    assert failure.message == "ImportError: libtorch_cpu.so: cannot open shared object file"
    assert "import torch" in failure.traceback


# Kills during the set-up of a home.

SET_UP = """
import os, random, signal, sys, time
from pathlib import Path
from ipserver.ops.places import make_folder
from ipserver.ops.startup import migrate_store, open_service, prepare_home
from ipserver.ops.supervisor import announce_parts
from tests.ipserver.support import settings_in

def set_up(home):
    settings = settings_in(home)
    prepare_home(settings)
    make_folder(settings.home / "logs")
    migrate_store(settings)
    open_service(settings, write=True).close()
    announce_parts(settings, [])

def child(home):
    pid = os.fork()
    if pid == 0:
        set_up(home)
        os._exit(0)
    return pid

root, kills = Path(sys.argv[1]), int(sys.argv[2])
begin = time.monotonic()
assert os.waitpid(child(root / "first"), 0)[1] == 0
whole = time.monotonic() - begin
random.seed(14)
met, in_time, number = set(), 0, 0
while number < kills or (number < 6 * kills and (in_time < kills / 2 or len(met) <= 3)):
    home = root / str(number)
    pid = child(home)
    time.sleep(random.uniform(0, whole))
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    whole *= 1.1 if status else 0.6  # the machine may be busier at one time than at another
    left = sorted(str(file.relative_to(home)) for file in home.rglob("*")) if home.exists() else []
    assert os.waitpid(child(home), 0)[1] == 0, left
    print("in time" if status else "too late", left)
    met.add(tuple(left))
    in_time += bool(status)
    number += 1
"""


def test_a_kill_at_any_moment_of_the_set_up_leaves_a_home_that_can_be_used(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SET_UP, str(tmp_path), "10"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert len(told) >= 10
    assert sum(line.startswith("in time") for line in told) >= 5
    assert len(set(told)) > 3, "they were killed at different steps"


def test_a_data_folder_that_is_not_there_ends_it(tmp_path):
    settings = settings_in(tmp_path, data=str(tmp_path / "absent"))
    with pytest.raises(
        NotReady, match=r"IPLAB_DATA: the folder .*/absent does not exist; name another .--data"
    ):
        check_data(settings)
    (tmp_path / "absent").touch()
    with pytest.raises(NotReady, match="is not a folder"):
        check_data(settings)
    check_data(settings_in(tmp_path, data=str(tmp_path)))
    check_data(settings_in(tmp_path))
    done = CliRunner().invoke(main, ["up", "--home", str(tmp_path / "home"), "--data", "/nowhere/at/all"])
    assert done.exit_code == 2
    assert "the folder /nowhere/at/all does not exist" in done.output


@pytest.mark.parametrize("ignored", [False, True])
def test_the_end_of_the_terminal_is_a_stop_unless_under_nohup(ignored):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        stop = stop_event()
        signal.raise_signal(signal.SIGHUP)
        assert stop.is_set() is not ignored
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
