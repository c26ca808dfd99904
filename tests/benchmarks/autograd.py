"""Speed of the autograd engine against the hand-written pack, in the same run.

    python -m tests.benchmarks.autograd [--runs 32] [--seconds 2] [--json FILE]

Both engines train packs of K perceptrons (L = 3, batch 64, digits, muP) in turns on one thread. Figures are
microseconds of processor time per network and update, the least of all turns. "ratio" is autograd's time over
the pack's, and "spread" the smallest and largest ratio of a turn. Single networks of eight neurons show the
overhead of an engine. Both engines give the same numbers (tests/ipcore/engine/test_autograd.py).
"""

from __future__ import annotations

import time
from typing import Any

from ipcore.config import PackConfig, RunConfig
from ipcore.data import load_dataset
from ipcore.engine.autograd import AutogradEngine
from ipcore.engine.engine import Engine
from ipcore.engine.pack import Pack
from ipcore.theory import preset
from ipcore.training.trainer import Trainer
from tests.benchmarks import output

TURNS = 8


def trainer(engine: type[Engine], width: int, runs: int, activation: str) -> Trainer:
    """A pack that never ends, past its first updates."""
    mup = preset("mup", 3)
    config = PackConfig("digits", 3, width, activation, batch_size=64, steps=10**7, weights="none")
    members = [RunConfig(mup, 0.05, seed) for seed in range(runs)]
    made = Trainer(config, members, load_dataset("digits"), threads=1, engine=engine)
    made.advance(max_steps=3)
    return made


def timed(subject: Trainer, updates: int) -> float:
    """Seconds of an update."""
    begun = time.process_time()
    subject.advance(max_steps=updates)
    return (time.process_time() - begun) / updates


def compare(width: int, runs: int, activation: str, seconds: float) -> dict[str, Any]:
    """Both engines at one size."""
    pair = [trainer(engine, width, runs, activation) for engine in (Pack, AutogradEngine)]
    updates = max(2, int(seconds / TURNS / 2 / timed(pair[0], 3)))
    turns = [[timed(subject, updates) for subject in pair] for _ in range(TURNS)]
    ratios = sorted(autograd / pack for pack, autograd in turns)
    pack, autograd = (1e6 * min(column) / runs for column in zip(*turns, strict=True))
    return {
        "m": width,
        "K": runs,
        "phi": activation,
        "pack": round(pack, 1),
        "autograd": round(autograd, 1),
        "autograd/pack": round(autograd / pack, 2),
        "spread": f"{ratios[0]:.2f}..{ratios[-1]:.2f}",
    }


def run(runs: int = 32, seconds: float = 2.0) -> dict[str, Any]:
    """Measure everything.

    Args:
        runs: K.
        seconds: For both engines together at each size.
    """
    cases = [(64, runs), (128, runs), (256, runs), (8, 1)]
    return {"rows": [compare(m, K, phi, seconds) for m, K in cases for phi in ("relu", "tanh", "gelu")]}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    result = run(arguments.runs, arguments.seconds)
    print("microseconds per network and update, one thread")
    output.table(result["rows"])
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
