"""A real autoscaler of Ray adds a node (another raylet on this machine) for a waiting pack."""

import contextlib
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

from ipserver.store.states import ExperimentState
from tests.ipserver.support import settings_in, small_spec, store_in, submit
from tests.ports import free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.takes(25)]

# The cluster is private, so it needs no token. Its nodes are processes here, checked every second.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}


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


@pytest.fixture
def cluster(monkeypatch):
    """A cluster with an autoscaler and without cores; yields its address and the process of its head."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    port = free_port()
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "autoscaler.json").write_text(json.dumps(autoscaling(f"127.0.0.1:{port}")))
        command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=0"]
        command += [
            f"--port={port}",
            f"--temp-dir={folder}",
            "--include-dashboard=false",
            "--object-store-memory=100000000",
            "--disable-usage-stats",
        ]
        command += [f"--autoscaling-config={folder / 'autoscaler.json'}"]
        with (folder / "ray.log").open("ab") as log:
            head = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                wait_for(lambda: listens(port) or head.poll() is not None)
                assert head.poll() is None, (folder / "ray.log").read_text()
                yield f"127.0.0.1:{port}", head
            finally:
                head.send_signal(signal.SIGTERM)
                head.wait(120)
                # The nodes that the autoscaler started are in its process group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(head.pid, signal.SIGKILL)


def test_a_node_is_added_for_a_pack_that_waits(cluster, tmp_path):
    address, head = cluster
    settings = settings_in(tmp_path)
    # A separate process, since a process can only join clusters that use tokens in the same way.
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("IPLAB_")},
        "IPLAB_RAY_ADDRESS": address,
        "IPLAB_EXPECTED_NODES": '[{"cpus": 1, "disk": 1}]',
        "IPLAB_WAIT_SECONDS": "60",
    }
    with store_in(settings) as store, (tmp_path / "dispatch.log").open("ab") as log:
        submit(store, small_spec(resources={"cpus": 1, "custom": {"disk": 1}}))
        command = [sys.executable, "-m", "ipserver", "dispatch", "--home", str(settings.home)]
        dispatcher = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: store.capacity() is not None or dispatcher.poll() is not None)
            assert store.capacity().resources == {"cpus": 0.0, "gpus": 0.0}
            wait_for(lambda: store.get_experiment("e").state.terminal or head.poll() is not None)
            assert store.get_experiment("e").state is ExperimentState.SUCCEEDED
            assert len(store.attempts("e", 0)) == 1
            # Reported every 15 seconds.
            wait_for(lambda: store.capacity().resources == {"cpus": 1.0, "gpus": 0.0, "disk": 1.0})
        finally:
            dispatcher.send_signal(signal.SIGTERM)
            assert dispatcher.wait(120) == 0, (tmp_path / "dispatch.log").read_text()
