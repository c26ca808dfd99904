"""`ipserver dispatch` on an existing Ray cluster, with artifacts in S3; all of them processes."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ipserver.artifacts import open_artifacts
from ipserver.store.states import RunState
from tests.faults.processes import children, kill
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.support import settings_in, small_spec, store_in, submit
from tests.ports import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.takes(50)]

# The cluster is private, so it needs no token. Usage statistics are off.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


def wait_for(condition, seconds=180.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.1)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ended(process, seconds=120):
    process.send_signal(signal.SIGTERM)
    return process.wait(seconds)


@pytest.fixture(scope="module")
def folder():
    """Ray's sockets need a short path."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def cluster(folder):
    """A head without cores, as the dispatcher's machine, and a node with one core; yields the address."""
    port = free_port()
    ray = str(Path(sys.executable).with_name("ray"))
    own = ["--disable-usage-stats", "--object-store-memory=100000000", "--block"]
    head = [ray, "start", "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
    node = [ray, "start", f"--address=127.0.0.1:{port}", "--num-cpus=1"]
    processes = []
    with (folder / "ray.log").open("ab") as log:

        def start(command):
            process = subprocess.Popen(command, env=os.environ | RAY, stdout=log, stderr=log)
            processes.append(process)
            return process

        try:
            start([*head, f"--temp-dir={folder}", *own])
            wait_for(lambda: listens(port) or processes[0].poll() is not None)
            start([*node, *own])
            yield f"127.0.0.1:{port}", processes
        finally:
            # All at once, since a node that is asked to end waits long for a missing head.
            for pid in [pid for process in processes for pid in (process.pid, *children(process.pid))]:
                kill(pid)
            for process in processes:
                process.wait()


def ipserver(command, settings, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
    words = [sys.executable, "-m", "ipserver", command, "--home", str(settings.home)]
    return words, clean | RAY | environment


def dispatch(settings, log, **environment):
    words, environment = ipserver("dispatch", settings, **environment)
    return subprocess.Popen(words, env=environment, stdout=log, stderr=log)


def reported(store):
    capacity = store.capacity()
    return capacity and capacity.resources["cpus"]


def test_a_dispatcher_joins_a_cluster_and_leaves_it_as_it_was(s3, cluster, folder, tmp_path):
    address, processes = cluster
    settings = settings_in(tmp_path / "home")
    root = s3.root()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "s3_access_key_id").write_text(KEY)
    (secrets / "s3_secret_access_key").write_text(f"{SECRET}\n")
    environment = {
        "IPLAB_RAY_ADDRESS": address,
        "IPLAB_ARTIFACTS": root.url,
        "IPLAB_S3_ENDPOINT_URL": root.endpoint_url,
        "IPLAB_SECRETS": str(secrets),
        "IPLAB_CHECKPOINT_SECONDS": "0.2",
        "IPLAB_SLICE_SECONDS": "0.1",
        "IPLAB_WAIT_SECONDS": "60",
    }
    with store_in(settings) as store, (tmp_path / "dispatch.log").open("ab") as log:
        submit(store, small_spec(steps=400))
        dispatcher = dispatch(settings, log, **environment)
        try:
            # The first report may precede the node with cores; the next one has it.
            wait_for(lambda: reported(store) == 1.0 or dispatcher.poll() is not None)
            wait_for(lambda: store.get_experiment("e").state.terminal or dispatcher.poll() is not None)
        finally:
            status = ended(dispatcher) if dispatcher.poll() is None else dispatcher.returncode
        told = (tmp_path / "dispatch.log").read_text()
        assert status == 0, told
        runs = store.list_runs("e", limit=10)
        assert [run.state for run in runs] == [RunState.SUCCEEDED] * 4, told
        for run in runs:
            artifact = store.get_artifact("e", run.index, "weights/final.safetensors")
            data = b"".join(open_artifacts(root).chunks(artifact.location))
            assert hashlib.sha256(data).hexdigest() == artifact.sha256
    words, variables = ipserver("doctor", settings, **environment)
    doctor = subprocess.run(words, env=variables, capture_output=True, text=True, check=False, timeout=120)

    assert doctor.returncode == 0, doctor.stdout
    assert f"{address}: 2 nodes, 1 CPUs, 0 GPUs" in doctor.stdout
    # Checkpoints are removed with the end of their pack; the weights and the owner's file remain.
    weights = [f"r{index:05d}-final.safetensors" for index in range(4)]
    assert [key.rpartition("/")[2] for key in s3.keys(root)] == [".iplab-store", *weights]
    assert [process.poll() for process in processes] == [None, None]
    assert listens(int(address.rpartition(":")[2]))
    logs = [path for path in folder.rglob("*") if path.is_file() and path.suffix in {".log", ".out", ".err"}]
    assert logs
    for path in (*logs, tmp_path / "dispatch.log"):
        assert SECRET not in path.read_text(errors="replace"), path


def test_a_cluster_that_is_not_there_is_named(tmp_path):
    settings = settings_in(tmp_path)
    store_in(settings).close()
    with (tmp_path / "dispatch.log").open("ab") as log:
        process = dispatch(settings, log, IPLAB_RAY_ADDRESS=f"127.0.0.1:{free_port()}")
        assert process.wait(120) == 2

    told = (tmp_path / "dispatch.log").read_text()
    assert "IPLAB_RAY_ADDRESS: nothing answers at 127.0.0.1:" in told
    assert "Traceback" not in told


def head_process(processes):
    """The process of the cluster's head: Ray's GCS, below the first process that the test started."""
    below = children(processes[0].pid)
    (pid,) = (pid for pid, command in below.items() if "gcs/gcs_server" in command.split(" ")[0])
    return pid


@pytest.mark.timeout(300)
def test_a_dispatcher_ends_soon_after_the_clusters_head(cluster, tmp_path):
    """After 15 s, as with its own Ray, instead of Ray's 60; then its supervisor starts another.

    The last test with the shared cluster, which it breaks.
    """
    address, processes = cluster
    settings = settings_in(tmp_path)
    environment = {"IPLAB_RAY_ADDRESS": address, "IPLAB_WAIT_SECONDS": "60"}
    with store_in(settings) as store, (tmp_path / "dispatch.log").open("ab") as log:
        dispatcher = dispatch(settings, log, **environment)
        try:
            wait_for(lambda: store.capacity() is not None or dispatcher.poll() is not None)
            os.kill(head_process(processes), signal.SIGKILL)
            begin = time.monotonic()
            wait_for(lambda: dispatcher.poll() is not None, seconds=55)
            print(f"ended {time.monotonic() - begin:.1f} s after the head, with {dispatcher.returncode}")
        finally:
            dispatcher.kill()
            dispatcher.wait()
