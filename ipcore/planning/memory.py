"""How much memory training needs, before anything is allocated. Standard library only.

The buffers of `ipcore.engine.pack` are known exactly; what lives only during an evaluation, a calibration or
a copy of the weights is counted at its largest. The interpreter and torch themselves (some 300 MB) are not
included.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ipcore.catalogue import IMAGES, OPTIMIZERS, DatasetInfo, find_activation, output_dim
from ipcore.config import PackConfig
from ipcore.probes.memory import probe_memory_bytes

# Updates whose losses wait on the device, and least rows of an evaluation at once
# (`ipcore.training.trainer`).
LOSS_WINDOW: Final = 64
EVALUATION_ROWS: Final = 64
# Rows at once of the public evaluation, one run at a time (`ipcore.training.evaluation`).
EVALUATION_CHUNK: Final = 1024


@dataclass(frozen=True, slots=True)
class RunMemory:
    """Bytes per run of a pack.

    Attributes:
        weights: Weights and biases.
        optimizer: Velocity or moments, settings, and what an update is made in.
        buffers: Activations, derivatives, indices, labels and losses of one batch.
        batches: Batch indices of one epoch (runs with the same seed share them; here they do not).
        transient: What an evaluation or a calibration needs at its largest moment.
    """

    weights: int
    optimizer: int
    buffers: int
    batches: int
    transient: int

    @property
    def touched(self) -> int:
        """What every update goes through."""
        return self.weights + self.optimizer + self.buffers

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.optimizer + self.buffers + self.batches + self.transient


def run_memory(
    config: PackConfig, info: DatasetInfo, itemsize: int = 4, *, own_biases: bool = False
) -> RunMemory:
    """Memory of each run of a pack, by part.

    Args:
        config: Of the pack.
        info: Of its dataset.
        itemsize: Bytes per number: 4, or 8 in double precision.
        own_biases: Whether some run of the pack has biases with exponents of their own, in every layer.
    """
    L, m, B = config.hidden_layers, config.width, config.batch_size
    outputs = output_dim(config.loss, info)
    dims = [info.input_dim, *[m] * L, outputs]
    biases = sum(dims[1:]) if own_biases else m if config.bias == "first" else 0
    weights = sum(a * b for a, b in pairwise(dims)) + biases
    preactivations = L * m if find_activation(config.activation).keeps_preactivation else 0
    activations = B * (sum(dims) + preactivations + min(2, L) * m)
    numbers = B * outputs + 1 + LOSS_WINDOW
    rounded = itemsize
    if config.precision == "bf16":
        rounded = 2
        # Copies that matmuls read, a gradient, the output's derivative; and the outputs in full.
        activations += weights + max(a * b for a, b in pairwise(dims)) + B * outputs
        numbers += B * outputs
    evaluation = max(B, EVALUATION_ROWS) * (3 * m + 3 * outputs)
    calibration = B * (L * m + outputs) + B * B + 4 * B * max(m, outputs)
    return RunMemory(
        weights=itemsize * weights,
        optimizer=_optimizer(config, dims, weights, itemsize, own_biases),
        # Indices are 4 bytes, labels 8 (classes) or numbers.
        buffers=rounded * activations
        + itemsize * (numbers + B * info.target_dim)
        + (4 if info.target_dim else 12) * B,
        batches=4 * (info.train_size - config.validation_size),
        transient=itemsize * max(evaluation, calibration),
    )


def _optimizer(config: PackConfig, dims: list[int], weights: int, itemsize: int, own_biases: bool) -> int:
    kept = OPTIMIZERS[config.optimizer].kept
    largest = max(a * b for a, b in pairwise(dims))
    tensors = (1 + own_biases) * (len(dims) - 1)
    numbers = kept.copies * weights + kept.gradient * largest + kept.numbers + kept.per_tensor * tensors
    return itemsize * numbers + 8 * kept.doubles


def run_memory_bytes(config: PackConfig, info: DatasetInfo) -> int:
    """Bytes of one run on its own in single precision, without the dataset.

    >>> from ipcore.catalogue import dataset_info
    >>> config = PackConfig("mnist", 6, 1024, "elu", batch_size=512, steps=600)
    >>> run_memory_bytes(config, dataset_info("mnist")) // 2**20
    169
    """
    return pack_memory_bytes(config, info, runs=1)


def pack_memory_bytes(config: PackConfig, info: DatasetInfo, runs: int) -> int:
    """Bytes of a pack in single precision, without the dataset (`dataset_memory_bytes`).

    Biases are counted in every layer, whether the runs have them or not. A validation set is counted with
    the copy of the training set that dividing it makes.

    Args:
        config: Of the pack.
        info: Of its dataset.
        runs: K.
    """
    each = run_memory(config, info, own_biases=True)
    outputs = output_dim(config.loss, info)
    # One network at a time is copied (in double precision, layer by layer) to be evaluated or written.
    evaluation = 4 * EVALUATION_CHUNK * (info.input_dim + 3 * max(config.width, outputs))
    parts = info.train_size * _example_bytes(info) if config.validation_size else 0
    probes = probe_memory_bytes(config, info.input_dim, outputs, runs)
    return runs * each.total + 4 * each.weights + evaluation + parts + probes


def dataset_memory_bytes(info: DatasetInfo) -> int:
    """Bytes of a dataset in memory, as `ipcore.data` holds it."""
    return (info.train_size + info.test_size) * _example_bytes(info)


def _example_bytes(info: DatasetInfo) -> int:
    numbers = (5 if info.name in IMAGES else 4) * info.input_dim  # images are there as bytes, too
    return numbers + (8 if info.classes else 4 * info.target_dim)
