"""The whole service on a sweep of small networks: `python -m tests.benchmarks.service [--seeds 21]`.

Starts `ipserver up` on a free port of loopback with a home of its own, submits one experiment of the
quickstart's shape (L = 4; m = 64, 128, 256; ReLU and tanh; digits; 400 steps, batch 64) and measures from
the submission: until it is accepted, until every run is terminal in the store with weights and metrics, and
until MLflow holds all of it.

Baseline, in the same run: a plain PyTorch loop that trains the same networks one after another with both
cores and records nothing (timed on a sample of updates of each shape).
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import iplab
from ipcore.config import PackConfig
from ipcore.data import load_dataset
from tests.benchmarks.engine import loop, measure, torch_threads

WIDTHS, ACTIVATIONS, STEPS, BATCH = (64, 128, 256), ("relu", "tanh"), 400, 64


def spec(seeds: int) -> dict[str, object]:
    """The quickstart's grid with so many seeds: 24 runs per seed."""
    return {
        "spec": {
            "dataset": "digits",
            "batch_size": BATCH,
            "steps": STEPS,
            "evaluation_interval": 100,
            "grid": {
                "parameterizations": [
                    {"preset": "ip"},
                    {"preset": "ip-llr"},
                    {"label": "ip-llr-calibrated", "preset": "ip-llr", "calibration": {}},
                    {"preset": "mup"},
                ],
                "widths": list(WIDTHS),
                "hidden_layers": [4],
                "activations": list(ACTIVATIONS),
                "base_learning_rates": [0.1],
                "seeds": list(range(seeds)),
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


def loop_seconds(runs: int, sample_seconds: float) -> float:
    """Time of the plain loop for all runs, from a sample of each shape (tanh stands for both activations)."""
    digits = load_dataset("digits")
    total = 0.0
    with torch_threads(2):
        for width in WIDTHS:
            config = PackConfig("digits", 4, width, "tanh", batch_size=BATCH, steps=STEPS, weights="none")
            milliseconds = measure({"loop": loop(config, digits, 1)}, sample_seconds)["loop"]
            total += milliseconds / 1e3 * STEPS * runs / len(WIDTHS)
    return total


def run(seeds: int) -> dict[str, float]:
    """Measure everything."""
    per_seed = 4 * len(WIDTHS) * len(ACTIVATIONS)
    baseline = loop_seconds(seeds * per_seed, sample_seconds=2.0)
    with (
        tempfile.TemporaryDirectory() as home,
        service(Path(home)) as address,
        iplab.connect(address) as client,
    ):
        start = time.perf_counter()
        experiment = client.create(spec(seeds), experiment_id="benchmark")
        accepted = time.perf_counter() - start
        experiment.wait(progress=True)
        finished = time.perf_counter() - start
        while experiment.refresh().mlflow_pending_runs:
            time.sleep(0.2)
        mlflow = time.perf_counter() - start
        if experiment.state != "SUCCEEDED":
            raise SystemExit(f"the experiment is {experiment.state}")
    return {
        "runs": seeds * per_seed,
        "accepted_s": accepted,
        "finished_s": finished,
        "in_mlflow_s": mlflow,
        "loop_s": baseline,
        "loop/finished": baseline / finished,
    }


def main() -> None:
    """Print a table and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=21, help="24 runs each")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = run(arguments.seeds)
    for name, value in result.items():
        print(f"{name:<16} {value:10.2f}")
    text = json.dumps(result)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
