"""How much memory training needs, before anything is allocated. Standard library only.

The buffers of `ipcore.pack` are known exactly; what lives only during an evaluation, a calibration or a copy
of the weights is counted at its largest. The interpreter and torch themselves (some 300 MB) are not included.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ipcore.catalogue import DatasetInfo, output_dim
from ipcore.config import PackConfig

# Updates whose losses wait on the device, and least rows of an evaluation at once (`ipcore.trainer`).
LOSS_WINDOW: Final = 64
EVALUATION_ROWS: Final = 64
# Rows at once of the public evaluation, one run at a time (`ipcore.evaluation`).
EVALUATION_CHUNK: Final = 1024
# Activations whose derivative needs the preactivation too (`ipcore.activations`).
KEEPS_PREACTIVATION: Final = frozenset({"gelu"})


@dataclass(frozen=True, slots=True)
class RunMemory:
    """Bytes per run of a pack.

    Attributes:
        weights: Weights and bias.
        buffers: Activations, derivatives, indices, labels and losses of one batch.
        batches: Batch indices of one epoch (runs with the same seed share them; here they do not).
        transient: What an evaluation or a calibration needs at its largest moment.
    """

    weights: int
    buffers: int
    batches: int
    transient: int

    @property
    def total(self) -> int:
        """Their sum."""
        return self.weights + self.buffers + self.batches + self.transient


def run_memory(config: PackConfig, info: DatasetInfo, itemsize: int = 4) -> RunMemory:
    """Memory of each run of a pack, by part.

    Args:
        config: Of the pack.
        info: Of its dataset.
        itemsize: Bytes per number: 4, or 8 in double precision.
    """
    L, m, B = config.hidden_layers, config.width, config.batch_size
    classes = output_dim(config.loss, info)
    dims = [info.input_dim, *[m] * L, classes]
    weights = sum(a * b for a, b in pairwise(dims)) + (m if config.bias == "first" else 0)
    preactivations = L * m if config.activation in KEEPS_PREACTIVATION else 0
    numbers = B * (sum(dims) + preactivations + min(2, L) * m + classes) + 1 + LOSS_WINDOW
    evaluation = max(B, EVALUATION_ROWS) * (3 * m + 3 * classes)
    calibration = B * (L * m + classes) + B * B + 4 * B * max(m, classes)
    return RunMemory(
        weights=itemsize * weights,
        buffers=itemsize * numbers + 12 * B,
        batches=4 * info.train_size,
        transient=itemsize * max(evaluation, calibration),
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

    Args:
        config: Of the pack.
        info: Of its dataset.
        runs: K.
    """
    each = run_memory(config, info)
    # One network at a time is copied (in double precision, layer by layer) to be evaluated or written.
    evaluation = (
        4 * EVALUATION_CHUNK * (info.input_dim + 3 * max(config.width, output_dim(config.loss, info)))
    )
    return runs * each.total + 4 * each.weights + evaluation


def dataset_memory_bytes(info: DatasetInfo) -> int:
    """Bytes of a dataset in memory, as `ipcore.data` holds it."""
    labels = 8 if info.classes else 4 * info.target_dim
    return (info.train_size + info.test_size) * (4 * info.input_dim + labels)
