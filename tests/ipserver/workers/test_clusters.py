"""`ipserver dispatch` on a Ray cluster that adds a node when one is needed; all of them processes."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ipserver.artifacts import open_artifacts
from ipserver.store.states import ExperimentState, RunState
from tests.faults.processes import children
from tests.ipserver.s3 import KEY, SECRET
from tests.ipserver.support import settings_in, small_spec, store_in, submit
from tests.ports import free_port

pytestmark = pytest.mark.ray

# The cluster is private, so it needs no token. Usage statistics are off.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
# Its nodes are processes here (other raylets on this machine), checked every second.
NODES = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
# Whoever started them has a variable with which torch cannot be imported.
NODES |= {"TORCH_LOGS": "nothing_of_this_name"}
HEAD = "ray.head.default"  # Ray's name of the head if nodes are processes
# The autoscaler requires all of them, although nothing is set up on other machines.
COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")


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


def autoscaling(address):
    """A cluster of only a head, to which nodes with one core and one "disk" can be added.

    `ray.cluster_utils.AutoscalingCluster` does the same, but at its start it ends every Ray of the machine.
    """
    return {
        "cluster_name": "test",
        "max_workers": 1,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "disk": {
                "resources": {"CPU": 1, "disk": 1, "object_store_memory": 100_000_000},
                "node_config": {},
                "min_workers": 0,
                "max_workers": 1,
            },
        },
        "head_node_type": HEAD,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 10,
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
    } | {f"{part}_commands": [] for part in COMMANDS}


@pytest.fixture(scope="module")
def folder():
    """Ray's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def cluster(folder):
    """A head without cores, as the dispatcher's machine, and an autoscaler; yields address and head."""
    port = free_port()
    (folder / "autoscaler.json").write_text(json.dumps(autoscaling(f"127.0.0.1:{port}")))
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=0"]
    command += [
        f"--port={port}",
        f"--temp-dir={folder}",
        f"--autoscaling-config={folder / 'autoscaler.json'}",
        "--include-dashboard=false",
        f"--ray-client-server-port={free_port()}",  # instead of a fixed one
        "--object-store-memory=100000000",
        "--disable-usage-stats",
    ]
    with (folder / "ray.log").open("ab") as log:
        head = subprocess.Popen(
            command, env=os.environ | RAY | NODES, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for(lambda: listens(port) or head.poll() is not None)
            assert head.poll() is None, (folder / "ray.log").read_text()
            yield f"127.0.0.1:{port}", head
        finally:
            # The nodes that the autoscaler started are in its process group. They are ended at once, since a
            # node that is asked to end waits long for a missing head.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def ipserver(command, settings, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")}
    words = [sys.executable, "-m", "ipserver", command, "--home", str(settings.home)]
    return words, clean | RAY | environment


def dispatch(settings, log, **environment):
    words, environment = ipserver("dispatch", settings, **environment)
    return subprocess.Popen(words, env=environment, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def grown(cluster, tmp_path_factory):
    """The cluster after it has added a node for a pack that waited, that pack's store, and its dispatcher.

    The dispatcher works beside those of the tests.
    """
    address, head = cluster
    home = tmp_path_factory.mktemp("grown")
    settings = settings_in(home)
    # A separate process, since a process can only join clusters that use tokens in the same way.
    environment = {
        "IPLAB_RAY_ADDRESS": address,
        "IPLAB_EXPECTED_NODES": '[{"cpus": 1, "disk": 1}]',
        "IPLAB_WAIT_SECONDS": "60",
        # Instead of 15: meanwhile a thread of Ray's asks the missing head without pause.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    }
    with store_in(settings) as store, (home / "dispatch.log").open("ab") as log:
        submit(store, small_spec(resources={"cpus": 1, "custom": {"disk": 1}}))
        dispatcher = dispatch(settings, log, **environment)
        try:
            wait_for(lambda: store.capacity() is not None or dispatcher.poll() is not None)
            assert store.capacity().resources == {"cpus": 0.0, "gpus": 0.0}
            wait_for(lambda: store.get_experiment("e").state.terminal or head.poll() is not None)
            # Reported every 15 seconds.
            wait_for(lambda: store.capacity().resources == {"cpus": 1.0, "gpus": 0.0, "disk": 1.0})
            yield address, head, store, dispatcher
        finally:
            dispatcher.kill()
            dispatcher.wait()


def test_a_node_is_added_for_a_pack_that_waits(grown):
    _, _, store, _ = grown
    assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
    assert len(store.attempts("e", 0)) == 1


def programs(head, name):
    """Processes of Ray's program below the cluster's head."""
    return {pid for pid, command in children(head.pid).items() if command.split(" ")[0].endswith(f"/{name}")}


def test_a_dispatcher_joins_a_cluster_and_leaves_it_as_it_was(s3, grown, folder, tmp_path):
    address, head, _, _ = grown
    raylets = programs(head, "raylet")
    assert len(raylets) == 2
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
            wait_for(lambda: store.get_experiment("e").state.terminal or dispatcher.poll() is not None)
        finally:
            status = ended(dispatcher) if dispatcher.poll() is None else dispatcher.returncode
        told = (tmp_path / "dispatch.log").read_text()
        assert status == 0, told
        assert store.capacity().resources["cpus"] == 1.0
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
    assert head.poll() is None
    assert programs(head, "raylet") == raylets
    assert listens(int(address.rpartition(":")[2]))
    logs = [path for path in folder.rglob("*") if path.is_file() and path.suffix in {".log", ".out", ".err"}]
    assert logs
    for path in (*logs, tmp_path / "dispatch.log"):
        assert SECRET not in path.read_text(errors="replace"), path


@pytest.mark.timeout(300)
def test_a_dispatcher_ends_soon_after_the_clusters_head(grown):
    """After the time that it waits for a head; then its supervisor starts another.

    The last test with the shared cluster, which it breaks.
    """
    _, head, _, dispatcher = grown
    (control,) = programs(head, "gcs_server")
    assert dispatcher.poll() is None
    os.kill(control, signal.SIGKILL)
    begin = time.monotonic()
    wait_for(lambda: dispatcher.poll() is not None, seconds=55)
    print(f"ended {time.monotonic() - begin:.1f} s after the head, with {dispatcher.returncode}")
