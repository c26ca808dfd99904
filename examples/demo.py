"""The main job, start to end: start the service, train the quickstart, show what the networks did, stop.

Everything it keeps lies in the folder `.demo`, so that MLflow can be opened on it afterwards.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import iplab

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
SPEC = ROOT / "examples" / "quickstart.yaml"
START_SECONDS = 180.0
MLFLOW_SECONDS = 120.0


@contextmanager
def service(home: Path) -> Iterator[str]:
    """`ipserver up` on a free port; yields its address and stops it at the end."""
    status = home / "service.json"
    status.unlink(missing_ok=True)  # what a killed service has left says nothing
    process = subprocess.Popen(
        [sys.executable, "-m", "ipserver", "up", "--home", home, "--address", "127.0.0.1:0"]
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not status.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the service did not start; its logs are in {home / 'logs'}")
            time.sleep(0.1)
        yield json.loads(status.read_text())["address"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def command(*arguments: str, address: str) -> int:
    """Show an `iplab` command and run it, as a user would."""
    print(f"\n$ iplab {' '.join(arguments)}", flush=True)
    environment = {**os.environ, "IPLAB_ADDRESS": address}
    return subprocess.call([sys.executable, "-m", "iplab", *arguments], env=environment)


def wait_for_mlflow(address: str, experiment_id: str) -> int:
    """Wait until MLflow holds every run; returns an exit code."""
    with iplab.connect(address) as client:
        experiment = client.experiment(experiment_id)
        deadline = time.monotonic() + MLFLOW_SECONDS
        while pending := experiment.refresh().mlflow_pending_runs:
            if time.monotonic() > deadline:
                print(f"MLflow still lacks {pending} runs; the next start of the service sends them")
                return 1
            time.sleep(0.2)
    return 0


def what_to_notice(address: str, experiment_id: str) -> str:
    """What the table shows: per parameterization the smallest and the largest width, and theory."""
    with iplab.connect(address) as client:
        rows = client.experiment(experiment_id).summary()
    lines = [
        "What to notice: every parameterization keeps the base rate that was best at the smallest width."
    ]
    for label in dict.fromkeys(row.parameterization for row in rows):
        first, *_, last = sorted((r for r in rows if r.parameterization == label), key=lambda r: r.width)
        regime = last.predicted_regime
        lines.append(
            f"  {label:<4} at width {first.width}: {result(first)}; at width {last.width}: {result(last)}.\n"
            f"       Theory: {regime.words}, that is, {regime.meaning}."
        )
    return "\n".join(lines)


def result(row: iplab.SummaryRow) -> str:
    """What runs that differ only in their seed came to."""
    if row.diverged == row.runs:
        return "every run diverged"
    diverged = f" ({row.diverged} of {row.runs} runs diverged)" if row.diverged else ""
    return f"test accuracy {row.test_accuracy.mean:.3f}{diverged}"


def main() -> int:
    """Run the demo; returns its exit code."""
    start = time.monotonic()
    experiment_id = time.strftime("quickstart-%Y%m%d-%H%M%S")
    with service(HOME) as address:
        spec = str(SPEC.relative_to(Path.cwd())) if SPEC.is_relative_to(Path.cwd()) else str(SPEC)
        code = command("submit", spec, "--id", experiment_id, "--watch", address=address)
        code = code or wait_for_mlflow(address, experiment_id)
        if code:
            return code
        print(f"\n{what_to_notice(address, experiment_id)}")
    print(
        f"\nDone in {time.monotonic() - start:.0f} s. MLflow holds metrics and weights, in {HOME / 'mlflow'}."
    )
    print(f"Open it:  .venv/bin/ipserver mlflow --home {HOME}   and the address that it prints")
    return 0


if __name__ == "__main__":
    sys.exit(main())
