"""Memory of packs against the predictions of `ipcore.planning.memory`, which the planner uses.

    python -m tests.benchmarks.memory [--device cuda] [--limit 600] [--json FILE]

Each pack is trained past the update that a GPU records, with evaluations and the final one. On the CPU it has
its own process, and "measured" is the growth of the process's largest resident memory since before the pack
was made. On a GPU it is the most that torch had allocated, and "reserved" the most that torch had taken from
the device. "ratio" is measured over predicted; above 1 the planner underestimates. The file is written after
every pack; packs that would begin after the limit are left out.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset, Split, load_dataset
from ipcore.data.scaling import as_pixels, scale_pixels
from ipcore.planning.memory import pack_memory_bytes
from ipcore.theory import preset
from ipcore.training.trainer import Trainer
from tests.benchmarks import output


@dataclass(frozen=True, slots=True)
class Case:
    """A pack.

    Attributes:
        hidden_layers: L.
        width: m.
        activation: Activation of all networks.
        batch_size: Examples per update and network.
        optimizer: Optimizer of the pack.
        runs: K.
        precision: Precision of the matmuls.
        dataset: "digits", or "mnist": random images of its shape, few of them.
    """

    hidden_layers: int
    width: int
    activation: str
    batch_size: int
    optimizer: str
    runs: int
    precision: str = "fp32"
    dataset: str = "digits"

    @property
    def config(self) -> PackConfig:
        """Six updates: the fourth is recorded on a GPU."""
        return PackConfig(
            self.dataset, self.hidden_layers, self.width, self.activation, self.batch_size, steps=6,
            optimizer=self.optimizer, evaluation_interval=2, precision=self.precision,
        )  # fmt: skip

    def data(self) -> Dataset:
        """The dataset that they train on."""
        if self.dataset == "digits":
            return load_dataset("digits")
        values = np.random.default_rng(0).integers(0, 256, (512, 784), dtype=np.uint8)
        labels = np.arange(512) % 10
        split = Split(scale_pixels(values, (0.13, 0.31)), labels, as_pixels(values, [(0.13, 0.31)]))
        return Dataset("mnist", split, split, classes=10)


# More seeds would only take longer to draw.
_SEEDS = 5
CASES = (
    Case(3, 64, "tanh", 64, "sgd", 512),
    Case(3, 256, "gelu", 64, "sgd", 64),
    Case(3, 512, "relu", 512, "sgd", 16),
    Case(3, 512, "relu", 64, "adam", 16),
    Case(6, 1024, "tanh", 512, "sgd", 4),
    Case(6, 1024, "tanh", 128, "momentum", 2),
)
# Sizes that fill a GPU, and precisions that only a GPU has.
CUDA_CASES = (
    Case(6, 1024, "gelu", 512, "sgd", 25, dataset="mnist"),
    Case(6, 1024, "gelu", 512, "sgd", 25, "bf16", "mnist"),
    Case(6, 1024, "gelu", 512, "adamw", 25, "tf32", "mnist"),
    Case(3, 128, "tanh", 64, "sgd", 1024),
    Case(5, 1024, "gelu", 512, "sgd", 140, dataset="mnist"),
)


def peak(case: Case, device: str) -> tuple[int, int]:
    """Largest number of bytes that a pack took, and the bytes reserved for it (the same on the CPU)."""
    data = case.data()
    tiny = Case(1, 8, case.activation, 8, case.optimizer, 1, case.precision, case.dataset)
    _train(tiny, data, device)  # loads libraries
    before, reserved = _used(device)
    _train(case, data, device)
    after, most = _used(device, largest=True)
    return after - before, most - reserved


def _train(case: Case, data: Dataset, device: str) -> None:
    mup = preset("mup", case.hidden_layers, optimizer=case.optimizer)
    runs = [RunConfig(mup, 0.001, number % _SEEDS) for number in range(case.runs)]
    Trainer(case.config, runs, data, device=device, threads=1).advance()


def _used(device: str, largest: bool = False) -> tuple[int, int]:
    if device == "cpu":
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return resident, resident
    if largest:
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()


def row(case: Case, device: str) -> dict[str, object]:
    """One pack."""
    predicted = pack_memory_bytes(case.config, case.data().info, case.runs)
    if device == "cpu":
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured, reserved = pool.apply(peak, (case, device))
    else:
        measured, reserved = peak(case, device)
    found: dict[str, object] = {
        "L": case.hidden_layers,
        "m": case.width,
        "phi": case.activation,
        "B": case.batch_size,
        "optimizer": case.optimizer,
        "precision": case.precision,
        "K": case.runs,
        "predicted_MB": round(predicted / 1e6, 1),
        "measured_MB": round(measured / 1e6, 1),
        "ratio": round(measured / predicted, 2),
    }
    return found if device == "cpu" else {**found, "reserved_MB": round(reserved / 1e6, 1)}


def run(
    device: str = "cpu", limit: float = 600.0, path: Path | None = None, cases: tuple[Case, ...] = ()
) -> dict[str, Any]:
    """Measure everything.

    Args:
        device: "cpu" or "cuda".
        limit: Seconds after which no pack begins.
        path: Written after every pack.
        cases: Packs; (): the packs of the device.
    """
    deadline = time.monotonic() + limit
    result: dict[str, Any] = {"device": device, "rows": [], "left out": 0}
    for case in cases or (CASES if device == "cpu" else CASES + CUDA_CASES):
        if time.monotonic() > deadline:
            result["left out"] += 1
            continue
        result["rows"].append(row(case, device))
        if path is not None:
            path.write_text(json.dumps(result) + "\n")
    return result


def main() -> None:
    """Print a table and write JSON."""
    options = output.device_parser(__doc__).parse_args()
    result = run(options.device, options.limit, options.json)
    output.table(result["rows"])
    output.give(result, options.json)


if __name__ == "__main__":
    main()
