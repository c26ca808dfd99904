"""Memory of training, before anything is allocated. Standard library only.

The buffers of engines are known exactly. Temporary tensors of an evaluation, a calibration or a copy of the
weights are counted at their largest. The interpreter and torch themselves (some 300 MB) are not included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ipcore.catalogue import IMAGES, DatasetInfo, output_dim
from ipcore.config import PackConfig
from ipcore.engine.memory import engine_memory
from ipcore.models import HAND_WRITTEN
from ipcore.planning.kernel_machine import paired_bytes
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
        optimizer: Velocity or moments, settings, and working memory of an update.
        buffers: Activations, derivatives, indices, labels and losses of one batch, and recent losses.
        batches: Batch indices of one epoch (runs with the same seed share them; here they do not).
        transient: Largest temporary memory of an evaluation or a calibration.
    """

    weights: int
    optimizer: int
    buffers: int
    batches: int
    transient: int

    @property
    def touched(self) -> int:
        """Bytes that every update reads or writes."""
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
        config: Configuration of the pack.
        info: Properties of its dataset.
        itemsize: Bytes per number: 4, or 8 in double precision.
        own_biases: Whether some run of the pack has biases with exponents of their own, in every layer.
    """
    B, outputs = config.batch_size, output_dim(config.loss, info)
    architecture = config.architecture(info.input_dim, outputs)
    engine = engine_memory(config, architecture, info.target_dim, itemsize, own_biases=own_biases)
    widest = max(architecture.outputs)
    # A chain keeps its newest values; a network with branches also keeps the values that they are added to.
    branches = 0 if config.model in HAND_WRITTEN else 2
    evaluation = max(B, EVALUATION_ROWS) * (3 * config.width + 3 * outputs + branches * widest)
    calibration = B * sum(architecture.outputs) + B * B + (4 + branches) * B * widest
    return RunMemory(
        weights=engine.weights,
        optimizer=engine.optimizer,
        buffers=engine.buffers + itemsize * LOSS_WINDOW,
        batches=4 * (info.train_size - config.validation_size),
        # Derivatives of values that were used more than once are sums in tensors of their own.
        transient=itemsize * max(evaluation, calibration, branches * B * widest),
    )


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
        config: Configuration of the pack.
        info: Properties of its dataset.
        runs: K.
    """
    each = run_memory(config, info, own_biases=True)
    outputs = output_dim(config.loss, info)
    # One network at a time is copied (in double precision, layer by layer) to be evaluated or written.
    evaluation = 4 * EVALUATION_CHUNK * (info.input_dim + 3 * max(config.width, outputs))
    parts = info.train_size * _example_bytes(info) if config.validation_size else 0
    probes = probe_memory_bytes(config, info.input_dim, outputs, runs) + paired_bytes(config, info, runs)
    return runs * each.total + 4 * each.weights + evaluation + parts + probes


def dataset_memory_bytes(info: DatasetInfo) -> int:
    """Bytes of a dataset in memory, as `ipcore.data` holds it."""
    return (info.train_size + info.test_size) * _example_bytes(info)


def _example_bytes(info: DatasetInfo) -> int:
    numbers = (5 if info.name in IMAGES else 4) * info.input_dim  # images are kept as bytes too
    return numbers + (8 if info.classes else 4 * info.target_dim)
