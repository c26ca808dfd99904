"""Checks of a running cluster, each one line of a table. A broken promise raises AssertionError."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient
from rich.console import Console
from rich.table import Table

from ipserver.store import open_store
from tests.cluster.containers import Container

EXPERIMENT = "cluster"
_API = "api:50051"
_TRAIN_SECONDS = 480.0
_MLFLOW_SECONDS = 90.0
# A sample of MLflow's copy, read back through its client.
_DOWNLOADS = 3


@dataclass(slots=True)
class Checks:
    """The table and its checks.

    Attributes:
        folder: Holds logs and the thin client's environment.
        hosts: Address by container's name.
        started: Containers by service.
    """

    folder: Path
    hosts: Mapping[str, str]
    started: Mapping[str, list[Container]]
    _rows: list[tuple[str, str, float]] = field(default_factory=list)

    def add(self, what: str, seen: str, seconds: float) -> None:
        """Add a line and print it."""
        self._rows.append((what, seen, seconds))
        print(f"{seconds:7.1f} s  {what}: {seen}", flush=True)

    def show(self) -> None:
        """The table."""
        table = Table("what", "seen", "seconds", title="Cluster test")
        for what, seen, seconds in self._rows:
            table.add_row(what, seen, f"{seconds:.1f}")
        Console(width=140).print(table)

    def all(self) -> None:
        """Make all checks in order."""
        self._timed("parts run without privileges", self._unprivileged)
        self._timed("the thin client submits 72 runs", self._submit)
        self._timed("ray status, from the dispatcher's container", self._ray)
        self._timed("ipserver doctor, in three containers", self._doctor)
        facts = self._client()
        runs: dict[str, Any] = facts["runs"]
        self.add("MLflow holds all of it, after training", f"{len(runs)} runs", facts["mlflow_seconds"])
        self.add(
            "weights by the SDK, from S3, checksums right", f"{len(runs)} files", facts["weights_seconds"]
        )
        self.add("what the thin client does not hold", "torch, Ray, MLflow, SQLAlchemy, boto3", 0.0)
        self._timed("where runs were trained, by S3's own log", lambda: self._nodes(runs))
        self._timed("runs, points and files in MLflow", lambda: self._mlflow(runs))

    def _timed(self, what: str, check: Callable[[], str]) -> None:
        begin = time.monotonic()
        seen = check()
        self.add(what, seen, time.monotonic() - begin)

    def _unprivileged(self) -> str:
        seen = (
            "grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)' /proc/self/status; touch /usr/x 2>&1 || echo refused"
        )
        ours = [name for name, containers in self.started.items() if containers[0].service.read_only]
        tried = 0
        for container in (c for name in ours for c in self.started[name] if c.process.poll() is None):
            shown = container.run(["sh", "-c", seen]).stdout
            values = dict(line.split(":\t", 1) for line in shown.splitlines() if ":\t" in line)
            assert values["Uid"].split() == ["10001"] * 4, f"{container.name}: {shown}"
            assert int(values["CapEff"], 16) == int(values["CapBnd"], 16) == 0, f"{container.name}: {shown}"
            assert values["NoNewPrivs"] == "1", f"{container.name}: {shown}"
            assert shown.endswith("refused\n"), f"{container.name} writes to its root: {shown}"
            tried += 1
        assert tried >= 7, f"only {tried} containers are alive"
        return f"{tried} containers: user 10001, no capability, read-only root"

    def _ray(self) -> str:
        """Head and dispatcher are nodes without CPUs, the workers have one each."""
        (container,) = self.started["dispatch"]
        done = container.run(["ray", "status", "--address", "ray-head:6379"], timeout=90.0)
        assert "/2.0 CPU" in done.stdout, done.stdout + done.stderr
        nodes = done.stdout.count(" node_")
        assert nodes == 4, done.stdout
        return f"{nodes} nodes, 2 CPUs"

    def _doctor(self) -> str:
        """Store, artifacts, Ray and MLflow, as far as each part needs them, reached in its way."""

        def ask(part: str) -> list[str]:
            (container,) = self.started[part]
            done = container.run(["ipserver", "doctor", "--for", part, "--json"], timeout=120.0)
            assert done.returncode == 0, done.stdout + done.stderr
            return [finding["text"] for finding in json.loads(done.stdout)["findings"]]

        with ThreadPoolExecutor() as pool:
            found = [text for texts in pool.map(ask, ("api", "dispatch", "forward")) for text in texts]
        assert sum("ray-head:6379: 4 nodes, 2 CPUs" in text for text in found) == 1, found
        assert sum("http://mlflow:5000 answers" in text for text in found) == 1, found
        return f"nothing is wrong, {len(found)} things looked at"

    def _submit(self) -> str:
        spec = str(Path(__file__).with_name("grid.yaml"))
        command = ["submit", spec, "--id", EXPERIMENT, "--watch"]
        self._thin("iplab", command, _TRAIN_SECONDS)
        return "all runs are terminal"

    def _client(self) -> dict[str, Any]:
        script = str(Path(__file__).with_name("client.py"))
        limit = 2 * _MLFLOW_SECONDS
        facts: dict[str, Any] = json.loads(
            self._thin("python", [script, _API, EXPERIMENT, str(_MLFLOW_SECONDS)], limit)
        )
        assert facts["heavy"] == [], f"the thin client's environment holds {facts['heavy']}"
        assert facts["pending"] == 0, f"MLflow lacks {facts['pending']} runs"
        assert len(facts["runs"]) == 72, f"{len(facts['runs'])} runs"
        states = collections.Counter(run["state"] for run in facts["runs"].values())
        assert states == {"SUCCEEDED": 72}, f"{dict(states)}"
        return facts

    def _thin(self, program: str, arguments: list[str], seconds: float) -> str:
        done = subprocess.run(
            [self.folder / "client" / "bin" / program, *arguments],
            env={"IPLAB_ADDRESS": _API, "HOME": str(self.folder), "PATH": "/usr/bin:/bin"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, (
            f"{program} {arguments} ended with {done.returncode}: {done.stderr[-2000:]}"
        )
        return done.stdout

    def _nodes(self, runs: Mapping[str, Any]) -> str:
        """Trainers upload from their own node, so the object store knows which node trained which run.

        The service's store says where the weights of a run are.
        """
        settings = self.started["api"][0].service.environment
        root = settings["IPLAB_ARTIFACTS"].removeprefix("s3:/")
        with open_store((self.folder / "secrets" / "store").read_text()) as store:
            places = {
                f"{root}/{artifact.location}": run
                for run, facts in runs.items()
                for artifact in store.artifacts(EXPERIMENT, facts["index"])
                if artifact.path == facts["path"]
            }
        assert set(places.values()) == set(runs), "the store does not name the weights of every run"
        uploads = re.findall(r'^(\S+) - - .*"PUT (\S+) HTTP', self._s3_log(), re.MULTILINE)
        by_address: dict[str, set[str]] = collections.defaultdict(set)
        for address, target in uploads:
            if run := places.get(unquote(target.partition("?")[0])):
                by_address[address].add(run)
        names = {address: name for name, address in self.hosts.items()}
        counts = {names.get(address, address): len(found) for address, found in sorted(by_address.items())}
        assert set(counts) == {"ray-worker-1", "ray-worker-2"}, f"weights came from {counts}"
        assert set().union(*by_address.values()) == set(runs), f"weights came from {counts}"
        return ", ".join(f"{name}: {count} runs" for name, count in counts.items())

    def _s3_log(self) -> str:
        return (self.folder / "logs" / "s3.log").read_text()

    def _mlflow(self, runs: Mapping[str, Any]) -> str:
        os.environ |= _s3_environment(self.folder)
        client = MlflowClient("http://mlflow:5000")
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None, "MLflow has no such experiment"
        assert experiment.artifact_location.startswith("s3://iplab/mlflow/"), experiment.artifact_location
        found = {
            run.info.run_id: run for run in client.search_runs([experiment.experiment_id], max_results=1000)
        }
        theirs = [found.pop(run["mlflow_run_id"], None) for run in runs.values()]
        assert None not in theirs, "runs are missing"
        # With the last of them comes the experiment's report, a run of its own.
        assert [run.info.run_name for run in found.values()] == ["report"], "other runs than ours"
        points = 0
        for name, run in runs.items():
            status = client.get_run(run["mlflow_run_id"]).info.status
            assert status == "FINISHED", f"{name} is {status}"
            for metric, count in run["points"].items():
                held = len(client.get_metric_history(run["mlflow_run_id"], metric))
                assert held == count, f"{name}: {held} points of {metric}, not {count}"
                points += held
        for name, run in list(runs.items())[:: max(1, len(runs) // _DOWNLOADS)]:
            uri = f"{experiment.artifact_location}/{run['mlflow_run_id']}/artifacts/{run['path']}"
            local = download_artifacts(artifact_uri=uri, dst_path=str(self.folder / "mlflow" / name))
            digest = hashlib.sha256(Path(local).read_bytes()).hexdigest()
            assert digest == run["sha256"], f"{name}: MLflow's copy of the weights differs"
        return f"{len(runs)} runs FINISHED, {points} points, files with the same checksums"


def _s3_environment(folder: Path) -> dict[str, str]:
    secrets = folder / "secrets"
    return {
        "MLFLOW_S3_ENDPOINT_URL": "http://s3:9000",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": (secrets / "s3_access_key_id").read_text(),
        "AWS_SECRET_ACCESS_KEY": (secrets / "s3_secret_access_key").read_text(),
    }
