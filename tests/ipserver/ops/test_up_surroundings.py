"""`ipserver up` in environments as users have them."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import iplab
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store import open_store
from ipserver.store.states import ExperimentState
from ipserver.workers.local_executor import LocalExecutor
from tests.faults.processes import children, start_time
from tests.ipserver.scheduling.cases import notices, run_until
from tests.ipserver.serving import SPEC, serving, wait_for
from tests.ipserver.support import settings_in, small_spec, store_in, submit

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

LIBRARIES = ("ray", "mlflow", "torch", "numpy", "json", "click", "grpc", "logging", "signal", "sqlalchemy")
# A user without a name: an id that the system does not know, as in a container.
NAMELESS = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]

# New files would be closed to their own user, and open files are few.
ODD_SHELL = ["sh", "-c", 'umask 0777 && ulimit -Sn 256 && exec "$0" "$@"']
# What other programs leave: proxies, jobs of MPI and Slurm, certificates, threads, telemetry, destinations.
FOREIGN = {
    **dict.fromkeys(("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "grpc_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME", "PYTHONPATH"), "/nonexistent"),
    **{"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "nowhere", "SLURM_JOB_ID": "12", "PORT": "80"},
    **{"OMP_NUM_THREADS": "many", "OPENBLAS_NUM_THREADS": "1000", "LOKY_MAX_CPU_COUNT": "0"},
    **{"PYTHONWARNINGS": "error", "PYTHONHASHSEED": "7", "TZ": ":Asia/Kathmandu", "MPLBACKEND": "TkAgg"},
    **{"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_RUN_ID": "x", "RAY_ADDRESS": "auto"},
    **{"CUDA_VISIBLE_DEVICES": "99", "GRPC_VERBOSITY": "loud", "OTEL_TRACES_EXPORTER": "otlp"},
    **{"AWS_PROFILE": "nobody", "PGOPTIONS": "-c x=y", "DEBUG": "1"},
}


def nameless():
    can = (
        shutil.which("unshare")
        and not subprocess.run([*NAMELESS, "true"], check=False, capture_output=True).returncode
    )
    return NAMELESS if can else []


def short_folders(commands):
    """Ray's folders outside of the home, from the command lines of its processes."""
    found = {Path(name) for command in commands for name in re.findall(r"/[^ =,]*/iplab-\d+-\w+", command)}
    assert found, "Ray lies in the home"
    return found


def test_a_stop_of_every_process_at_once_loses_nothing_in_odd_surroundings(tmp_path):
    """systemd stops a service in this way by default. The folders have odd names too."""
    home = tmp_path / "a b'c\"d#é日本 and too long a path for the sockets of Ray"
    working = tmp_path / "working"
    temporary = tmp_path / ("t" * 80)
    for folder in (home, working, temporary):
        folder.mkdir()
    for name in LIBRARIES:
        (working / f"{name}.py").write_text("raise ImportError('a file of the working folder')")
    grid = SPEC["spec"]["grid"] | {"widths": [64]}
    long = {"spec": SPEC["spec"] | {"steps": 30_000, "evaluation_interval": 10_000, "grid": grid}}
    odd = {"TMPDIR": str(temporary), "HOME": "/proc/nowhere", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}

    wrapper = [*ODD_SHELL, *nameless()]
    options = {"cwd": working, "wrapper": wrapper, "IPLAB_CHECKPOINT_SECONDS": "600", **FOREIGN, **odd}
    with serving(home, **options) as (process, status), iplab.connect(status["address"]) as client:
        assert client.create(SPEC, experiment_id="short").wait().state == "SUCCEEDED"
        experiment = client.create(long, experiment_id="long")
        wait_for(lambda: experiment.refresh().committed_steps > 1000)
        below = {pid: start_time(pid) for pid in children(process.pid)}
        folders = short_folders(children(process.pid).values())
        assert all(folder.is_dir() for folder in folders)
        for pid in (*reversed(below), process.pid):  # the supervisor is the last
            with contextlib.suppress(ProcessLookupError):  # a short-lived process of Ray
                os.kill(pid, signal.SIGTERM)
        assert process.wait(180) == 0
    # An agent of Ray whose raylet ended first notices that in about a minute, on a busy machine later.
    wait_for(lambda: not remaining(below), 180, lambda: f"still there: {remaining(below)}")
    assert "starting it again" not in (home / "up.log").read_text()
    assert not list(home.glob("ray-?????*/"))
    assert not any(folder.exists() for folder in folders)

    # What a next dispatcher finds.
    settings = settings_in(home, checkpoint_seconds=600)
    with open_store(settings.store_dsn) as store:
        committed = store.get_experiment("long").committed_steps
        executor = LocalExecutor(cpus=2)
        dispatcher = Dispatcher(store, executor, settings, "next")
        run_until(dispatcher, lambda: store.get_experiment("long").committed_steps > committed)
        executor.close()
        resumed_at = store.attempts("long", 0)[1].first_step
        told = notices(store, "long")
    assert resumed_at > 250  # each of the four runs had that many
    assert f"pack p0000: resumed from the checkpoint of step {resumed_at}" in told
    assert not any("again" in notice for notice in told), "nothing is trained a second time"


def remaining(processes):
    """Commands of those of the processes (by id, with the time of their start) that run."""
    there = (pid for pid, begun in processes.items() if begun and start_time(pid) == begun)
    return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in there]


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
