"""The whole service on a sweep of small networks: `python -m tests.benchmarks.service [--runs 512]`.

Starts `ipserver up` on a free port of loopback with its own home, waits a while, and submits one experiment
(L = 3, m = 64, batch 64, 300 updates, digits; metrics every 10 updates, final weights kept). It measures the
times from the submission until the experiment is accepted, until every run is terminal in the store with
weights and metrics, and until MLflow holds everything. The forwarder works all the time.

Baselines, in the same run, each with all cores to itself:

* loop: plain PyTorch, one network after another, all cores as threads; records nothing;
* tune: Ray Tune, one trial per run, with reused actors and with default settings (a few trials, scaled);
* client: one bare `MlflowClient` writes the same runs to an MLflow database on SQLite (scaled as well).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import iplab
from tests.benchmarks import output
from tests.benchmarks.contestants import Case, loop
from tests.benchmarks.cores import Contestant, race

STEPS, INTERVAL, CORES = 300, 10, 2
CASE = Case(width=64, runs=1)
PARAMETERIZATIONS = ("mup", "ntk", "sp", "ip-llr")
SETTLE_SECONDS = 15.0


def spec(runs: int) -> dict[str, object]:
    """Four parameterizations, with enough seeds for the number of runs."""
    return {
        "spec": {
            "dataset": CASE.dataset,
            "batch_size": CASE.batch_size,
            "steps": STEPS,
            "record": {"metrics_interval": INTERVAL},
            "grid": {
                "parameterizations": [{"preset": name} for name in PARAMETERIZATIONS],
                "widths": [CASE.width],
                "hidden_layers": [CASE.hidden_layers],
                "activations": [CASE.activation],
                "base_learning_rates": [0.01],
                "seeds": list(range(runs // len(PARAMETERIZATIONS))),
            },
        }
    }


@contextmanager
def service(home: Path) -> Iterator[str]:
    """A service in a home; yields its address."""
    command = [sys.executable, "-m", "ipserver", "up", "--home", str(home), "--address", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not (home / "service.json").exists():
            if process.poll() is not None:
                raise SystemExit(f"the service did not start; logs in {home / 'logs'}")
            time.sleep(0.1)
        yield json.loads((home / "service.json").read_text())["address"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def service_seconds(runs: int) -> dict[str, float]:
    """The service's times."""
    with (
        tempfile.TemporaryDirectory() as home,
        service(Path(home)) as address,
        iplab.connect(address) as client,
    ):
        time.sleep(SETTLE_SECONDS)
        start = time.perf_counter()
        experiment = client.create(spec(runs), experiment_id="benchmark")
        accepted = time.perf_counter() - start
        experiment.wait(progress=True)
        finished = time.perf_counter() - start
        while experiment.refresh().mlflow_pending_runs:
            time.sleep(0.2)
        mlflow = time.perf_counter() - start
        if experiment.state != "SUCCEEDED":
            raise SystemExit(f"the experiment is {experiment.state}")
        points = len(experiment.metrics(filter="index = 0").value)
        log = (Path(home) / "logs" / "dispatch.log").read_text()
    return {
        "accepted_s": accepted,
        "finished_s": finished,
        "in_mlflow_s": mlflow,
        "points_per_run": points,
        "packs": log.count("is done; it waited"),
        # Sum over all workers of the times within packs from one slice's end to the next slice's start.
        "idle_between_slices_s": sum(map(float, re.findall(r"it waited ([0-9.]+) s for slices", log))),
    }


def client_seconds(runs: int, points: int) -> float:
    """Seconds per run of a bare client that sends the same: numbers, parameters, tags, a weight file."""
    # As in the service, since telemetry of MLflow takes time too.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "final.safetensors"
        weights.write_bytes(bytes(4 * (2 * 64 * 64 + 64 * 64 + 64 * 10)))
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        experiment = client.create_experiment("bare", artifact_location=f"{folder}/artifacts")
        begun = time.perf_counter()
        for _ in range(runs):
            run = client.create_run(experiment).info.run_id
            params = [Param(f"parameter_{i}", str(i)) for i in range(24)]
            client.log_batch(run, params=params, tags=[RunTag(f"tag_{i}", str(i)) for i in range(6)])
            metrics = [Metric(f"metric_{i % 4}", 0.5, 1_700_000_000_000 + i, i // 4) for i in range(points)]
            client.log_batch(run, metrics=metrics)
            client.log_artifact(run, str(weights), "weights")
            client.set_terminated(run)
        return (time.perf_counter() - begun) / runs


def run(runs: int = 512) -> dict[str, float]:
    """Measure everything.

    Args:
        runs: Number of runs of the sweep, a multiple of 4.
    """
    from tests.benchmarks import tune

    shape = {"width": CASE.width, "hidden_layers": CASE.hidden_layers, "batch_size": CASE.batch_size}
    shape["steps"] = STEPS
    found = {"runs": float(runs), **service_seconds(runs)}
    each = race({"loop": Contestant(loop, CASE, 1, CORES)}, seconds=5.0)["loop"]
    found["loop_s"] = each * STEPS * runs
    found["tune_reused_s"] = runs * tune.seconds_per_trial(64, shape, CORES, reuse=True)
    found["tune_default_s"] = runs * tune.seconds_per_trial(16, shape, CORES, reuse=False)
    found["client_s"] = runs * client_seconds(64, int(found["points_per_run"]))
    for name in ("loop", "tune_reused", "tune_default"):
        found[f"{name}/finished"] = found[f"{name}_s"] / found["finished_s"]
    return found | {"in_mlflow/client": found["in_mlflow_s"] / found["client_s"]}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--runs", type=int, default=512)
    arguments = parser.parse_args()
    result = run(arguments.runs)
    for name, value in result.items():
        print(f"{name:<22} {value:10.2f}")
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
