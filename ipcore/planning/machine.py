"""Time of an update of a pack on a machine, from a few measured numbers. Standard library only.

An update of K networks costs a fixed time for starting its operations, the multiply-adds of its matmuls, and
the traffic of what does not fit into the cache:

    t(K) = launch (o + 5) / 2 + K work / rate + max(0, K bytes - cache) / bandwidth

for a forward pass of o operations: 2 L + 1 of a multilayer perceptron.
`ipcore.training.profiling` measures the four numbers. On a CPU the best pack fills the cache: with fewer
networks starting operations costs more, with more of them every update fetches all weights from memory. On a
GPU the first term dominates until many networks train together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ipcore.catalogue import OPTIMIZERS, DatasetInfo, output_dim
from ipcore.config import OptimizerSettings, PackConfig
from ipcore.models import Architecture
from ipcore.models.tally import tally
from ipcore.planning.memory import run_memory


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """Measured speeds and sizes of one worker.

    Attributes:
        launch_seconds: Starting the operations of a layer.
        rate: Multiply-adds per second of batched matmuls on what lies in the cache.
        cache_bytes: Bytes of weights and buffers that stay in the cache between updates.
        bandwidth: Bytes per second that an update reads from beyond the cache; None: no slower than from the
            cache, at the sizes that were tried.
        memory_bytes: The device's memory, if it has its own; 0: the machine's.
    """

    launch_seconds: float
    rate: float
    cache_bytes: int
    bandwidth: float | None
    memory_bytes: int = 0

    def on_threads(self, threads: int) -> MachineProfile:
        """An estimate for several threads from the profile of one."""
        return replace(self, rate=self.rate * threads, bandwidth=self.bandwidth and self.bandwidth * threads)

    def update_seconds(self, config: PackConfig, info: DatasetInfo, runs: int) -> float:
        """Seconds of one update of a pack of `runs` networks."""
        beyond = max(0, runs * run_memory(config, info).touched - self.cache_bytes)
        reading = beyond / self.bandwidth if self.bandwidth else 0.0
        launch = self.launch_seconds * (tally(_architecture(config, info)).operations + 5) / 2
        return launch + runs * update_work(config, info) / self.rate + reading


# Used before anything has been measured: one core with AVX-512 (an EPYC, 2026), and a card of the H100's
# class, at 60 % of what data sheets promise: 67e12 operations a second (two a multiply-add), 50 MB of cache,
# and 2e12 bytes a second, those of the slowest such card.
DEFAULT_CPU: Final = MachineProfile(20e-6, 45e9, 5 << 20, 6e9)
DEFAULT_GPU: Final = MachineProfile(8e-6, 20e12, 30 << 20, 1.2e12)


def update_work(config: PackConfig, info: DatasetInfo) -> float:
    """Multiply-adds of one update of one run: forward, weight gradients, input gradients (not of layer 1).

    Muon's Newton-Schulz steps come on top, as many as by default.
    """
    architecture = _architecture(config, info)
    work = config.batch_size * tally(architecture).update
    if OPTIMIZERS[config.optimizer].kept.grams:
        steps = OptimizerSettings().newton_schulz_steps
        work += steps * sum(map(_newton_schulz_work, architecture.matrices))
    return float(work)


def _newton_schulz_work(shape: tuple[int, int]) -> int:
    """Multiply-adds of a step: A = X X^T, A^2, A X, with A on the smaller side."""
    side = min(shape)
    return 2 * side * shape[0] * shape[1] + side**3


def evaluation_work(config: PackConfig, info: DatasetInfo) -> float:
    """Multiply-adds of evaluating one run on the test set."""
    return float(info.test_size * tally(_architecture(config, info)).forward)


def _architecture(config: PackConfig, info: DatasetInfo) -> Architecture:
    return config.architecture(info.input_dim, output_dim(config.loss, info))
