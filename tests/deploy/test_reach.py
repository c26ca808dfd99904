"""Which services each part reaches: by NetworkPolicies, `ipserver.ops.startup.PARTS` and real connections.

Real connections go to sockets on loopback that count them and do not answer.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ipserver.cli import main
from ipserver.ops.startup import PARTS
from ipserver.store import migrate
from tests.deploy.manifests import COMPOSE, DEPLOY, named, overlay, pods
from tests.ipserver.s3 import KEY, SECRET, S3Server, serving_s3

# Services that parts reach: the pod of each and one of its ports.
SERVERS = {
    "postgres": ("StatefulSet postgres", 5432),
    "s3": ("StatefulSet s3", 9000),
    "mlflow": ("Deployment mlflow", 5000),
    "ray": ("RayCluster iplab head", 6379),
}


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    expressions = selector.get("matchExpressions", ())
    assert all(expression["operator"] == "In" for expression in expressions)
    return wanted and all(labels.get(e["key"]) in e["values"] for e in expressions)


def _allowed(source: str, target: str, port: int) -> bool:
    """Whether the policies let one pod of the namespace reach a port of another, both given by owner."""
    resources = overlay("overlays/laptop")
    labels = {pod.owner: pod.labels for pod in pods(resources)}
    policies = [
        policy["spec"]
        for policy in named(resources, "NetworkPolicy").values()
        if _matches(policy["spec"]["podSelector"], labels[target])
    ]
    assert policies, "without a policy everybody reaches everything"
    return any(
        _matches(peer["podSelector"], labels[source]) and ("ports" not in rule or port in _ports(rule))
        for policy in policies
        for rule in policy.get("ingress", ())
        for peer in rule["from"]
        # A pod of another namespace, with labels that none of ours has.
        if "namespaceSelector" not in peer
    )


def _ports(rule: Mapping[str, Any]) -> set[int]:
    return {entry["port"] for entry in rule["ports"]}


def _wanted(part: str) -> set[str]:
    """What a part reaches according to `ipserver doctor --for`."""
    needs = PARTS[part]
    return {"postgres", "s3"} | ({"ray"} if needs.ray else set()) | ({"mlflow"} if needs.mlflow else set())


@pytest.mark.parametrize("part", PARTS)
def test_policies_let_through_what_a_part_needs_and_no_more(part: str) -> None:
    reached = {
        name for name, (target, port) in SERVERS.items() if _allowed(f"Deployment iplab-{part}", target, port)
    }
    assert reached == _wanted(part)


def test_the_others_reach_what_they_use() -> None:
    def reached(owner: str) -> set[str]:
        return {name for name, (target, port) in SERVERS.items() if _allowed(owner, target, port)}

    # Every pod may connect to the object store, which requires a key.
    assert reached("Job iplab-migrate") == {"postgres", "s3"}
    assert reached("Deployment mlflow") == {"postgres", "s3"}
    assert reached("RayCluster iplab cpu") == reached("RayCluster iplab head") == {"ray", "s3"}
    assert reached("Job s3-bucket") == {"s3"}


def test_compose_starts_a_part_after_what_it_reaches() -> None:
    services = {"postgres": "migrate", "s3": "bucket", "mlflow": "mlflow", "ray": "ray-head"}
    for part in PARTS:
        wanted = {services[name] for name in _wanted(part)}
        assert COMPOSE["services"][part]["depends_on"].keys() == wanted


class Ear:
    """A socket that records whether anything connected.

    Args:
        target: HOST:PORT that connections are forwarded to; "": they are closed.
    """

    def __init__(self, target: str = "") -> None:
        self.heard = False
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._take, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self.heard = True
                if not self._target:
                    near.close()
                    continue
                host, _, port = self._target.rpartition(":")
                far = socket.create_connection((host, int(port)))
                threading.Thread(target=_join, args=(near, far), daemon=True).start()


def _join(near: socket.socket, far: socket.socket) -> None:
    """Copy bytes in both directions until one side ends."""
    with near, far, suppress(OSError):
        while ready := select.select([near, far], [], [])[0]:
            for source in ready:
                if not (data := source.recv(1 << 16)):
                    return
                (far if source is near else near).sendall(data)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with serving_s3() as server:
        yield server


@dataclass
class Surroundings:
    """A store on SQLite, a bucket, an MLflow that closes every connection, and no Ray."""

    s3: Ear
    mlflow: Ear
    settings: dict[str, str]

    def start(self, part: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ipserver", part],
            env={**os.environ, **self.settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def doctor(self, *options: str) -> str:
        """What the doctor says, in this process: each start of another would load Ray and MLflow."""
        return (
            CliRunner().invoke(main, ["doctor", *options], env=self.settings, catch_exceptions=False).output
        )

    def reached(self, output: str) -> set[str]:
        """Services that a program with this output reached: always the store, or it would have stopped."""
        heard = {name for name, ear in (("s3", self.s3), ("mlflow", self.mlflow)) if ear.heard}
        no_ray = f"IPLAB_RAY_ADDRESS: nothing answers at {self.settings['IPLAB_RAY_ADDRESS']}"
        return {"postgres"} | heard | ({"ray"} if no_ray in output else set())


@pytest.fixture
def surroundings(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    for name in os.environ:
        if name.startswith(("IPLAB_", "RAY_")):
            monkeypatch.delenv(name)
    store = f"sqlite:///{tmp_path / 'iplab.db'}"
    migrate(store)
    root = s3.root()
    with socket.socket() as taken, ExitStack() as stack:
        taken.bind(("127.0.0.1", 0))
        ears = Ear(s3.endpoint.removeprefix("http://")), Ear()
        for ear in ears:
            stack.callback(ear.close)
        yield Surroundings(
            *ears,
            {
                "IPLAB_HOME": str(tmp_path),
                "IPLAB_ADDRESS": "127.0.0.1:0",
                "IPLAB_STORE": store,
                "IPLAB_ARTIFACTS": root.url,
                "IPLAB_S3_ENDPOINT_URL": f"http://{ears[0].address}",
                "IPLAB_S3_ACCESS_KEY_ID": KEY,
                "IPLAB_S3_SECRET_ACCESS_KEY": SECRET,
                "IPLAB_MLFLOW_TRACKING_URI": f"http://{ears[1].address}",
                "IPLAB_RAY_ADDRESS": f"127.0.0.1:{taken.getsockname()[1]}",
                # Of another program. MLflow's import ends at a level that it does not know.
                "MLFLOW_LOGGING_LEVEL": "loud",
            },
        )


@pytest.mark.parametrize("part", PARTS)
def test_a_part_asks_at_its_start_what_it_needs_and_no_more(part: str, surroundings: Surroundings) -> None:
    process = surroundings.start(part)
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if "listening on port" in line:  # it has everything that it needs
                process.terminate()
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    assert surroundings.reached(said) == _wanted(part), said
    assert "Traceback" not in said
    missing = [
        name
        for name, needed in (("RAY_ADDRESS", PARTS[part].ray), ("MLFLOW_TRACKING_URI", PARTS[part].mlflow))
        if needed
    ]
    assert process.returncode == (2 if missing else 0)
    for name in missing:
        assert f"ipserver: IPLAB_{name}: " in said


@pytest.mark.parametrize("part", PARTS)
def test_the_doctor_of_a_part_asks_the_same(part: str, surroundings: Surroundings) -> None:
    said = surroundings.doctor("--for", part)
    assert surroundings.reached(said) == _wanted(part), said


def test_the_doctor_of_everything_asks_everything(surroundings: Surroundings) -> None:
    said = surroundings.doctor()
    assert surroundings.reached(said) == set(SERVERS), said


def test_the_readme_asks_each_part_for_what_it_reaches() -> None:
    """The command for `kubectl exec` into a pod asks the doctor about that pod's part."""
    readme = (DEPLOY / "README.md").read_text()
    asked = re.findall(r"exec deployment/iplab-(\w+) -- ipserver doctor(?: --for (\w+))?", readme)
    assert {pod for pod, _ in asked} == PARTS.keys()
    assert all(pod == part for pod, part in asked)
