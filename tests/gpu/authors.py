"""The authors' tables of 2021 on the device: `python -m tests.gpu.authors --json FILE`.

Six hidden layers of width 1024, batches of 512, base rate 0.01, all training images, five methods, four
activations, five seeds; CIFAR-10 grey 1,200 updates, MNIST 600. First rates of IP-LLR are calibrated with
readout target 0.1 and cap 500. Networks are tested after the last update.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ipcore.config import Calibration, PackConfig
from tests.benchmarks import output
from tests.gpu.data import load
from tests.gpu.methods import ACTIVATIONS, DATASETS, METHODS, SMALL, job
from tests.gpu.packs import PackJob, read, train_all

_CALIBRATION = Calibration(readout_target=0.1, cap=500.0)


def jobs(device: str, precision: str) -> Iterator[PackJob]:
    """One pack of 25 runs for each dataset and activation."""
    small = device == "cpu"
    for dataset, steps in (SMALL if small else DATASETS).items():
        for activation in ACTIVATIONS:
            config = PackConfig(
                dataset,
                hidden_layers=6,
                width=16 if small else 1024,
                activation=activation,
                batch_size=64 if small else 512,
                steps=steps,
                metrics_interval=steps,
                evaluation_interval=steps // 6,
                weights="none",
                precision=precision,
            )
            yield job(config, [0.01], range(2 if small else 5), _CALIBRATION)


def table(lines: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Mean test accuracy after the last update over the seeds that did not diverge."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for line in lines:
        for run in line["runs"] if line["finished"] else ():
            key = run["dataset"], run["parameterization"], run["activation"]
            found[key] += [] if run["diverged"] else [run["test_accuracy"][-1][1]]
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for (dataset, method, activation), values in found.items():
        row = rows.setdefault(
            (dataset, method), {"dataset": dataset, "method": method, **dict.fromkeys(ACTIVATIONS, "-")}
        )
        if values:
            row[activation] = f"{sum(values) / len(values):.4f}"
    return sorted(rows.values(), key=lambda row: (row["dataset"], METHODS.index(str(row["method"]))))


def main() -> None:
    """Train and print the table."""
    parser = output.device_parser(__doc__)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "tf32", "bf16"])
    options = parser.parse_args()
    told = train_all(
        jobs(options.device, options.precision), options.json, options.device, options.limit, load
    )
    for reason, names in told.items():
        print(f"{reason}: {len(names)} packs")
    if rows := table(read(options.json)):
        output.table(rows)


if __name__ == "__main__":
    main()
