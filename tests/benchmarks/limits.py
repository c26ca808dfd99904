"""Limits at m = infinity: `python -m tests.benchmarks.limits [--particles 32768] [--json FILE]`, a minute.

One replica of HPZ's and of IP-LLR's limit (ReLU, L = 2, 3, 4, calibrated): 10 updates of 32 examples of
digits, cross entropy, single precision, one thread, and an evaluation of 128 test inputs at the end.

    cpu s       processor time of everything: drawing, calibration, updates, evaluation; the least of three
    wall s      time on the clock of the same on two threads; on two idle cores
    estimate    what the planner says of updates and evaluation (`ipcore.limits.cost`)
    products    cpu s over the time of the work that is counted in multiply-adds, nearly all of it matrix
                products, at the speed of a large product measured in the same run: 1 is as fast as can be
    dense       cpu s over the time of a dense network of width 2,048 for the same updates
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch

import ipcore
from ipcore.data import Dataset, Split
from ipcore.limits.cost import cost
from ipcore.limits.trainer import LimitTrainer
from tests.benchmarks import output

UPDATES, BATCH, INPUTS, DENSE = 10, 32, 128, 2048
_DEPTHS: Final = (2, 3, 4)
_REPEATS: Final = 3


def run(particles: int = 32768) -> dict[str, Any]:
    """Measure.

    Args:
        particles: N.
    """
    dataset = ipcore.load_dataset("digits")
    few = Split(dataset.test.inputs[:INPUTS], dataset.test.labels[:INPUTS])
    dataset = replace(dataset, test=few)
    rate = _multiply_adds_a_second()
    dense = {layers: _seconds(partial(_dense, dataset, layers)) for layers in _DEPTHS}
    rows = []
    for name in ("hpz", "ip-llr"):
        for layers in _DEPTHS:
            config, one = _limit(name, layers, particles)
            estimate = cost(config, one, dataset.info)

            # One evaluation: at step 0 f is 0.
            train = partial(_train, config, one, dataset)
            seconds = _seconds(partial(train, 1))
            row = {
                "limit": name,
                "L": layers,
                "cpu s": round(seconds, 2),
                "wall s": round(_seconds(partial(train, 2), time.perf_counter), 2),
                "estimate": round(estimate.seconds() + estimate.evaluation_seconds(), 2),
                "products": round(seconds * rate / (estimate.work + estimate.evaluation_work), 1),
                "dense": round(seconds / dense[layers], 1),
            }
            rows.append(row)
    return {"particles": particles, "rows": rows}


def _config(layers: int, width: int) -> ipcore.PackConfig:
    return ipcore.PackConfig("digits", layers, width, "relu", BATCH, UPDATES, weights="none")


def _limit(name: str, layers: int, particles: int) -> tuple[ipcore.PackConfig, ipcore.RunConfig]:
    config = replace(_config(layers, particles), infinite_width=True, replicas=1)
    calibration = ipcore.Calibration(0.1, cap=1e20)
    return config, ipcore.RunConfig(ipcore.preset(name, layers), 0.03, 0, calibration)


def _train(config: ipcore.PackConfig, one: ipcore.RunConfig, dataset: Dataset, threads: int) -> None:
    LimitTrainer(config, [one], dataset, threads=threads).advance()


def _dense(dataset: Dataset, layers: int) -> None:
    one = ipcore.RunConfig(ipcore.preset("mup", layers), 0.03, 0)
    ipcore.Trainer(_config(layers, DENSE), [one], dataset, threads=1).advance()


def _seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Least time of some repeats: of the processor, or by another clock."""
    taken = []
    for _ in range(_REPEATS):
        begun = clock()
        work()
        taken.append(clock() - begun)
    return min(taken)


def _multiply_adds_a_second() -> float:
    size, threads = 1024, torch.get_num_threads()
    one, other = torch.randn(size, size), torch.randn(size, size)
    torch.set_num_threads(1)
    try:
        return size**3 / _seconds(lambda: one @ other)
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    """Print the table; write the JSON file that was asked for."""
    parser = output.parser(__doc__)
    parser.add_argument("--particles", type=int, default=32768, help="N")
    options = parser.parse_args()
    result = run(options.particles)
    output.table(result["rows"])
    output.give(result, options.json)


if __name__ == "__main__":
    main()
