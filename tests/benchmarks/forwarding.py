"""Time until MLflow has many runs: `python -m tests.benchmarks.forwarding --runs 20000 --mlflow postgres`.

Fills a store with ended runs, their metric segments and weight files, through the store's own functions and
without training. Then the real forwarder sends them to a real MLflow until nothing is pending. It reports:

* tasks_ms: the query for what to send, with everything pending (median of ten);
* in_mlflow_s: seconds until MLflow has all runs; they are counted in MLflow, with every point of a few;
* ms_per_run: the same for each run;
* bare_ms_per_run: one bare `MlflowClient` that makes the same calls to a fresh MLflow of the same kind;
* ratio: the former over the latter.

With `--mlflow postgres`, MLflow keeps its data in a new database of the server that IPLAB_TEST_POSTGRES
names; it is removed at the end. With `--mlflow server`, an MLflow server uses SQLite.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from ipserver.environment.settings import Settings, load_settings
from ipserver.forward.connect import connect
from ipserver.forward.forwarder import Forwarder, Pass
from ipserver.store import Store, migrate, open_store, segments
from ipserver.store.records.files import NewArtifact
from ipserver.store.records.packs import LeasedPack, NewPack
from ipserver.store.records.slices import SliceCommit
from ipserver.store.states import RunState
from ipserver.store.summary import Summary
from tests.benchmarks import output
from tests.ipserver.support import small_spec, submit

STEPS, PACK = 20, 32
METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
BARE_RUNS = 100


def fill(store: Store, artifacts: Path, runs: int, experiments: int, points: int) -> None:
    """Ended experiments with `points` points and one weight file for each run."""
    for number in range(experiments):
        name = f"tiny-{number:05d}"
        count = runs // experiments + (number < runs % experiments)
        grid = {"parameterizations": [{"preset": "mup"}], "seeds": list(range(count))}
        submit(store, small_spec(steps=STEPS, grid=grid), name)
        planned = store.lease_unplanned("benchmark", 600)
        assert planned is not None
        members = [tuple(range(first, min(first + PACK, count))) for first in range(0, count, PACK)]
        packs = [
            NewPack(2, 16, "relu", id=f"p{i:05d}", run_indices=indices, steps=STEPS, memory_bytes=1)
            for i, indices in enumerate(members)
        ]
        store.save_plan(name, "benchmark", packs)
        while (pack := store.lease_pack(name, "benchmark", 600)) is not None:
            store.commit_slice(name, pack.id, pack.token, all_of(pack, artifacts, points))


def all_of(pack: LeasedPack, artifacts: Path, points: int) -> SliceCommit:
    """The only slice of a pack whose runs succeed."""
    indices = [run.index for run in pack.runs]
    now = int(1000 * time.time())
    rows = [
        (run, point % len(METRICS), 1 + point // len(METRICS)) for run in indices for point in range(points)
    ]
    own, metric, step = zip(*rows, strict=True)
    files = []
    for index in indices:
        location = f"{pack.experiment.id}/weights/{pack.id}/{pack.token}/{index}-final.safetensors"
        path = artifacts / location
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
        files.append(NewArtifact(index, "weights/final.safetensors", location, 7, _SHA256, STEPS))
    return SliceCommit(
        1,
        STEPS,
        segment=segments.encode(own, metric, METRICS, step, [now] * len(own), [0.5] * len(own)),
        summaries={index: Summary(last_train_loss=0.5, final_test_loss=0.5) for index in indices},
        ended=dict.fromkeys(indices, RunState.SUCCEEDED),
        artifacts=tuple(files),
        finished=True,
    )


_SHA256 = hashlib.sha256(b"weights").hexdigest()


@contextmanager
def tracking(kind: str, folder: Path) -> Iterator[str]:
    """A new MLflow; yields its address ("": the service's own MLflow on SQLite)."""
    if kind == "sqlite":
        yield ""
        return
    if kind == "server":
        with _server(folder) as address:
            yield address
        return
    url = os.environ.get("IPLAB_TEST_POSTGRES")
    if not url:
        raise SystemExit("--mlflow postgres needs the DSN of a PostgreSQL server in IPLAB_TEST_POSTGRES")
    name = f"iplab_bench_{uuid.uuid4().hex[:8]}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield sa.make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "served")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | quiet, cwd=folder, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit((folder / "server.log").read_text())
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


def forwarded(store: Store, settings: Settings) -> dict[str, float]:
    """Forward until nothing is pending; return the times."""
    queries = []
    for _ in range(10):
        begun = time.perf_counter()
        store.forward_tasks(50)
        queries.append(time.perf_counter() - begun)
    forwarder = Forwarder(store, connect(settings), settings.artifact_root, "benchmark")
    begun, cpu = time.perf_counter(), time.process_time()
    while (outcome := forwarder.step()) is Pass.BUSY:
        pass
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    left = sum(experiment.mlflow_pending_runs for experiment in store.list_experiments(limit=100_000))
    if outcome is not Pass.IDLE or left:
        raise SystemExit(f"MLflow lacks {left} runs: {outcome.value}")
    return {"tasks_ms": 1e3 * statistics.median(queries), "in_mlflow_s": seconds, "cpu_s": cpu}


def counted(uri: str, points: int) -> int:
    """Finished runs in MLflow; every point of the first and the last of each experiment must be there."""
    client = MlflowClient(tracking_uri=uri)
    found = 0
    for experiment in client.search_experiments(filter_string="name LIKE 'tiny-%'", max_results=50_000):
        token: str | None = None
        while True:
            page = client.search_runs(
                [experiment.experiment_id],
                "attributes.status = 'FINISHED'",
                max_results=1000,
                page_token=token,
            )
            found += len(page)
            for run in page[:1] + page[-1:]:
                history = [client.get_metric_history(run.info.run_id, metric) for metric in METRICS]
                assert sum(map(len, history)) == points, run.info.run_id
                files = [file.path for file in client.list_artifacts(run.info.run_id, "weights")]
                assert files == ["weights/final.safetensors"], files
            token = page.token
            if not token:
                break
    return found


def bare(uri: str, folder: Path, points: int) -> float:
    """Seconds per run of a bare client that sends the same: numbers, parameters, tags, a weight file."""
    weights = folder / "final.safetensors"
    weights.write_bytes(b"weights")
    client = MlflowClient(tracking_uri=uri)
    location = None if uri.startswith("http") else (folder / "bare").as_uri()
    experiment = client.create_experiment("bare", artifact_location=location)
    params = [Param(f"parameter_{i}", str(i)) for i in range(24)]
    begun = time.perf_counter()
    for _ in range(BARE_RUNS):
        run = client.create_run(experiment, tags={f"tag_{i}": str(i) for i in range(8)}).info.run_id
        metrics = [Metric(METRICS[i % 4], 0.5, 1_700_000_000_000 + i, 1 + i // 4) for i in range(points)]
        client.log_batch(run, params=params, metrics=metrics)
        client.log_text(run, "{}", "spec.json")
        client.log_artifact(run, str(weights), "weights")
        client.set_terminated(run)
    return (time.perf_counter() - begun) / BARE_RUNS


def run(runs: int, experiments: int, points: int, kind: str) -> dict[str, float]:
    """Measure everything.

    Args:
        runs: Number of runs.
        experiments: Number of experiments that they belong to.
        points: Metric points of each run.
        kind: "sqlite", "postgres" or "server".
    """
    found: dict[str, float] = {"runs": runs, "experiments": experiments, "points_per_run": points}
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="iplab-") as name:
        folder = Path(name)
        os.chdir(folder)  # MLflow's default folder for files
        try:
            with tracking(kind, folder) as uri:
                settings = load_settings(home=str(folder / "home"), mlflow_tracking_uri=uri)
                (settings.home / "mlflow").mkdir(parents=True)
                migrate(settings.store_dsn)
                with open_store(settings.store_dsn) as store:
                    begun = time.perf_counter()
                    fill(store, settings.home / "artifacts", runs, experiments, points)
                    found["filled_s"] = time.perf_counter() - begun
                    found |= forwarded(store, settings)
                if (there := counted(settings.mlflow_uri, points)) != runs:
                    raise SystemExit(f"MLflow has {there} finished runs of {runs}")
            with tracking(kind, folder) as uri:
                shutil.rmtree(folder / "server", ignore_errors=True)
                each = bare(uri or f"sqlite:///{folder}/bare.db", folder, points)
        finally:
            os.chdir(here)
    found["ms_per_run"] = 1e3 * found["in_mlflow_s"] / runs
    found["bare_ms_per_run"] = 1e3 * each
    return found | {"ratio": found["ms_per_run"] / found["bare_ms_per_run"]}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--experiments", type=int, default=4)
    parser.add_argument("--points", type=int, default=16, help="of each run")
    parser.add_argument("--mlflow", choices=("sqlite", "postgres", "server"), default="sqlite")
    arguments = parser.parse_args()
    result = run(arguments.runs, arguments.experiments, arguments.points, arguments.mlflow)
    for key, value in result.items():
        print(f"{key:<18} {value:10.2f}")
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
