"""Measures a worker's `MachineProfile` (`ipcore.planning.machine`) by half a second of synthetic training."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import torch

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset, load_dataset
from ipcore.engine.replay import WARM_UP
from ipcore.planning.machine import MachineProfile, update_work
from ipcore.planning.memory import run_memory
from ipcore.theory import preset
from ipcore.training.trainer import Trainer

_CONFIG: Final = PackConfig(
    "parity:d=64,k=2,n=256,test=64", 3, 64, "relu", batch_size=64, steps=10**7, weights="none"
)
_TINY: Final = PackConfig(
    "parity:d=8,k=2,n=64,test=8", 3, 8, "relu", batch_size=8, steps=10**7, weights="none"
)
_CPU_RUNS: Final = (8, 16, 32, 64, 128)
_GPU_RUNS: Final = (16, 64, 256, 1024)
_ROUNDS: Final = 3
# A pack that is slower per run than the best by this factor does not fit into the cache.
_TOLERANCE: Final = 1.1


def measure(
    device: str = "cpu",
    threads: int | None = None,
    *,
    seconds: float = 0.03,
    clock: Callable[[], float] | None = None,
) -> MachineProfile:
    """Measure packs of several sizes.

    Args:
        device: "cpu" or "cuda".
        threads: Threads inside an operation; None: torch's own setting.
        seconds: Approximate duration of each of the `_ROUNDS` measurements of a size.
        clock: In seconds; None: for one thread on the CPU its processor time, which other processes do not
            inflate.
    """
    sizes = _CPU_RUNS if device == "cpu" else _GPU_RUNS
    if clock is None:
        clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter
    tiny = _update_seconds(_TINY, 1, device, threads, seconds / 4, clock)
    found = {runs: _update_seconds(_CONFIG, runs, device, threads, seconds, clock) for runs in sizes}
    memory = torch.cuda.get_device_properties(device).total_memory if device != "cpu" else 0
    return fit(tiny, found, memory)


def fit(tiny: float, found: dict[int, float], memory_bytes: int = 0) -> MachineProfile:
    """The profile that explains measurements.

    Args:
        tiny: Seconds of an update of one network that is so small that only launching operations takes time.
        found: Runs of a pack of `_CONFIG` -> seconds of an update.
        memory_bytes: See `MachineProfile`.
    """
    dataset = load_dataset(_CONFIG.dataset).info
    size = run_memory(_CONFIG, dataset).touched
    # Per run, without the fixed cost of an update; positive even if the clock jumps.
    each = {runs: max(seconds - tiny, 0.01 * seconds) / runs for runs, seconds in found.items()}
    best, largest = min(each.values()), max(each)
    fitting = max(runs for runs, value in each.items() if value <= _TOLERANCE * best)
    slower = largest * (each[largest] - best)
    return MachineProfile(
        launch_seconds=tiny / (_TINY.hidden_layers + 3),
        rate=update_work(_CONFIG, dataset) / best,
        cache_bytes=fitting * size,
        bandwidth=(largest - fitting) * size / slower if fitting < largest else None,
        memory_bytes=memory_bytes,
    )


def _update_seconds(
    config: PackConfig,
    runs: int,
    device: str,
    threads: int | None,
    seconds: float,
    clock: Callable[[], float],
) -> float:
    """Seconds of one update, the best of several rounds."""
    dataset: Dataset = load_dataset(config.dataset)
    mup = preset("mup", config.hidden_layers)
    trainer = Trainer(
        config, [RunConfig(mup, 0.01, seed=0) for _ in range(runs)], dataset, device=device, threads=threads
    )
    trainer.advance(max_steps=WARM_UP + 1)  # on a GPU the last of them records the graph
    begun = clock()
    trainer.advance(max_steps=2)
    updates = max(1, int(seconds / max(1e-6, (clock() - begun) / 2)))
    best = float("inf")
    for _ in range(_ROUNDS):
        begun = clock()
        trainer.advance(max_steps=updates)
        best = min(best, (clock() - begun) / updates)
    return best
