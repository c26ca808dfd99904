"""The memory that packs take against what `ipcore.memory` predicts, by which they are planned.

    python -m tests.benchmarks.memory [--json FILE]

Each pack is trained in a process of its own, with an evaluation and the final one. "measured" is the growth
of the process's largest resident memory from before the pack was made (on a GPU: of what torch had
allocated); "ratio" is measured over predicted: above 1 the planner promises too much.
"""

from __future__ import annotations

import multiprocessing
import resource
from typing import Any

import torch

from ipcore.config import PackConfig, RunConfig
from ipcore.data import load_dataset
from ipcore.memory import pack_memory_bytes
from ipcore.theory import preset
from ipcore.trainer import Trainer
from tests.benchmarks import output

# (hidden layers, width, activation, batch size, optimizer, runs)
CASES = (
    (3, 64, "tanh", 64, "sgd", 512),
    (3, 256, "gelu", 64, "sgd", 64),
    (3, 512, "relu", 512, "sgd", 16),
    (3, 512, "relu", 64, "adam", 16),
    (6, 1024, "tanh", 512, "sgd", 4),
    (6, 1024, "tanh", 128, "momentum", 2),
)
Case = tuple[int, int, str, int, str, int]


def peak(case: Case, device: str) -> int:
    """Bytes that a pack took at most. Runs in a process of its own."""
    hidden_layers, width, activation, batch_size, optimizer, runs = case
    data = load_dataset("digits")
    config = PackConfig(
        "digits",
        hidden_layers,
        width,
        activation,
        batch_size,
        steps=3,
        optimizer=optimizer,
        evaluation_interval=1,
    )
    small = PackConfig("digits", 1, 8, activation, 8, steps=2, optimizer=optimizer, evaluation_interval=1)
    mup = preset("mup", 1, optimizer=optimizer)
    Trainer(
        small, [RunConfig(mup, 0.01, 0)], data, device=device, threads=1
    ).advance()  # loads what is needed
    before = _used(device)
    mup = preset("mup", hidden_layers, optimizer=optimizer)
    trainer = Trainer(
        config, [RunConfig(mup, 0.001, seed) for seed in range(runs)], data, device=device, threads=1
    )
    trainer.advance()
    return _used(device) - before


def _used(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def row(case: Case, device: str) -> dict[str, object]:
    """One pack."""
    hidden_layers, width, activation, batch_size, optimizer, runs = case
    config = PackConfig(
        "digits",
        hidden_layers,
        width,
        activation,
        batch_size,
        steps=3,
        optimizer=optimizer,
        evaluation_interval=1,
    )
    predicted = pack_memory_bytes(config, load_dataset("digits").info, runs)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured = pool.apply(peak, (case, device))
    return {
        "L": hidden_layers,
        "m": width,
        "phi": activation,
        "B": batch_size,
        "optimizer": optimizer,
        "K": runs,
        "predicted_MB": round(predicted / 1e6, 1),
        "measured_MB": round(measured / 1e6, 1),
        "ratio": round(measured / predicted, 2),
    }


def run(device: str = "cpu") -> dict[str, Any]:
    """Measure everything."""
    return {"device": device, "rows": [row(case, device) for case in CASES]}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    result = run(arguments.device)
    output.table(result["rows"])
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
