"""Cost of probes: one measurement of each probe against one update.

    python -m tests.benchmarks.probes [--seconds 0.2] [--large] [--json FILE]

K networks (tanh, batch 64, digits) of depth 3 and 6 are trained. Each probe alone, and all together, measure
all layers on 64 examples. Figures are milliseconds of one update of all K networks, and the cost of one
measurement in updates. Each is the best of several rounds, in CPU time on one thread, so that ratios hold on
a busy machine. Width 1024 is measured only with --large.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch

from ipcore.catalogue import PROBES
from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.data import Dataset, load_dataset
from ipcore.probes.single_update import Newest
from ipcore.theory import preset
from ipcore.training.trainer import Trainer
from tests.benchmarks import output

SIZES = ((64, 32), (128, 16), (256, 8), (512, 2))
LARGE = (1024, 1)


def trainer_of(depth: int, width: int, runs: int, quantities: tuple[str, ...], data: Dataset) -> Trainer:
    """A trainer after three updates, so that matrices have changed."""
    probes = Probes(quantities, steps=(0,)) if quantities else None
    config = PackConfig(
        "digits", depth, width, "tanh", batch_size=64, steps=10**7, weights="none", probes=probes
    )
    mup = preset("mup", depth)
    trainer = Trainer(config, [RunConfig(mup, 0.1, seed) for seed in range(runs)], data)
    trainer.advance(max_steps=3)
    return trainer


def best(action: Callable[[], object], seconds: float) -> float:
    """Shortest CPU time of one call, in milliseconds."""
    found, end = float("inf"), time.process_time() + seconds
    while time.process_time() < end or found == float("inf"):
        begun = time.process_time()
        action()
        found = min(found, time.process_time() - begun)
    return 1e3 * found


def compare(depth: int, width: int, runs: int, seconds: float, data: Dataset) -> dict[str, float]:
    """Cost of each probe at one size, in updates."""
    plain = trainer_of(depth, width, runs, (), data)
    update = best(lambda: plain.advance(max_steps=2), seconds) / 2
    row = {"L": depth, "m": width, "K": runs, "update_ms": round(update, 2)}
    for name, quantities in {**{probe: (probe,) for probe in PROBES}, "all": tuple(PROBES)}.items():
        trainer = trainer_of(depth, width, runs, quantities, data)
        newest = Newest(trainer.step, trainer._rates.at(trainer.step - 1))
        assert trainer.measurements.prober is not None
        measure = functools.partial(trainer.measurements.prober.measure, newest)
        with torch.inference_mode():
            row[name] = round(best(measure, seconds) / update, 1)
    return row


def run(seconds: float = 0.2, with_large: bool = False) -> dict[str, Any]:
    """Measure everything.

    Args:
        seconds: For each figure.
        with_large: Whether to measure width 1024 too.
    """
    torch.set_num_threads(1)
    digits = load_dataset("digits")
    sizes = (*SIZES, LARGE) if with_large else SIZES
    rows = [compare(depth, *size, seconds, digits) for depth in (3, 6) for size in sizes]
    return {"rows": rows}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    result = run(arguments.seconds, arguments.large)
    print("one measurement, in updates of the same K networks (CPU time, one thread)")
    output.table(result["rows"])
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
