"""Memory and work of kernel machines (`ipcore.limits.kernel_machine`). Standard library only.

After T updates of B examples a machine has learned n = min(T B, training examples) of them, after fewer
updates u. An update computes B u entries of the tangent kernel, an evaluation u for each of its inputs. Runs
that see the same batches share them.
"""

from __future__ import annotations

from typing import Final

from ipcore.catalogue import DatasetInfo, output_dim
from ipcore.catalogue.activations import relu_power
from ipcore.config import PackConfig
from ipcore.probes.paired import PAIRED_OUTPUTS

ENTRIES: Final = 1 << 16
"""Number of a kernel's entries computed at once: their values stay in the cache."""
CLOSED_FORMS: Final = frozenset({"relu", "relu^1", "leaky_relu", "abs", "identity", "erf", "sin"})
"""Activations whose kernels have a formula; those of others are series (`ipcore.limits.dual_activations`)."""
SERIES_TERMS: Final = 128
_HALF_SERIES: Final = frozenset({"tanh", "sigmoid", "gelu", "silu", "softplus"})
NODES: Final = 600
"""Nodes of a quadrature in one dimension."""
INPUTS: Final = 32
"""Inputs for which quadratures are computed at once."""
_TENSORS: Final = 10  # of the shape of a kernel while one is computed
_QUADRATURES: Final = {
    True: 3,
    False: 6,
}  # tensors of values at all nodes: in closed form (True), for a series
# Work in multiply-adds of products in single precision that take as long (36e9 a second). An entry in a
# layer: 25 ns in closed form, 2 ns for each term of a series. What is worked out for one input alone, in a
# layer: 4 us in closed form (True), 22 us for a series.
_CLOSED_ENTRY: Final = 900.0
_TERM: Final = 75.0
_INPUT: Final = {True: 1.5e5, False: 8e5}
_DOUBLE: Final = 8
_SINGLE: Final = 4


def rows_at_once(used: int) -> int:
    """Inputs whose kernel with `used` others is computed at once."""
    return max(1, ENTRIES // max(used, 1))


def used_examples(config: PackConfig, info: DatasetInfo) -> int:
    """Training examples that some batch holds, n."""
    return min(info.train_size - config.validation_size, config.steps * config.batch_size)


def machine_bytes(config: PackConfig, info: DatasetInfo, inputs: int) -> int:
    """Bytes of one machine: coefficients, velocities, and f_0 at what is learned and at other inputs."""
    C, used = output_dim(config.loss, info), used_examples(config, info)
    place = info.train_size - config.validation_size
    return _DOUBLE * (used * (3 * C + _marginals(config) + 2) + inputs * C + place)


def _marginals(config: PackConfig) -> int:
    """Numbers that are kept of each input: of each layer its variance and, for a series, its coefficients."""
    return config.hidden_layers * (1 if _closed(config) else 2 * SERIES_TERMS + 5)


def _closed(config: PackConfig) -> bool:
    return config.activation in CLOSED_FORMS


def kernel_bytes(config: PackConfig, info: DatasetInfo) -> int:
    """Bytes that computing some rows of the kernel takes, whatever the number of machines."""
    used = used_examples(config, info)
    inputs = max(config.batch_size, info.test_size, config.validation_size)
    entries = min(rows_at_once(used), inputs) * used
    known = (used + inputs) * _marginals(config)
    worked_out = min(INPUTS, max(used, inputs)) * NODES * _QUADRATURES[_closed(config)]
    kernel = known + max(_TENSORS * entries, worked_out)
    return _DOUBLE * kernel + (_SINGLE + _DOUBLE) * used * info.input_dim


def reads(batches: float, batch_size: int, most: int) -> float:
    """Sum over batches, the t-th of which reads min(t B, most) numbers with each of its examples.

    Args:
        batches: T; need not be whole.
        batch_size: B.
        most: Numbers that there are to read.

    >>> reads(3, 10, 25)  # 10 (0 + 10 + 20)
    300.0
    >>> reads(5, 10, 20)  # 10 (0 + 10 + 20 + 20 + 20)
    700.0
    """
    growing = min(batches, most // batch_size + 1)
    return batch_size * (batch_size * growing * (growing - 1) / 2 + (batches - growing) * most)


def update_work(config: PackConfig, info: DatasetInfo) -> float:
    """All updates of a machine, in multiply-adds that take as long."""
    n = used_examples(config, info)
    entries = reads(config.steps, config.batch_size, n)
    return entries * entry_work(config, info) + n * input_work(config)


def evaluation_work(config: PackConfig, info: DatasetInfo, inputs: int) -> float:
    """An evaluation after the last update, in the same unit."""
    return inputs * (used_examples(config, info) * entry_work(config, info) + input_work(config))


def entry_work(config: PackConfig, info: DatasetInfo) -> float:
    """Work of one entry of the kernel, in the same unit."""
    layer = _CLOSED_ENTRY if _closed(config) else _TERM * series_terms(config.activation)
    return layer * config.hidden_layers + 2 * info.input_dim


def series_terms(activation: str) -> int:
    """Terms of a series that do not vanish, at most.

    Half of them vanish if phi is odd or even but for a polynomial: a constant, a line, or h^p of ReLU's p-th
    power.
    """
    power = relu_power(activation)
    half = activation in _HALF_SERIES or (power is not None and power.denominator == 1)
    return SERIES_TERMS // 2 if half else SERIES_TERMS


def input_work(config: PackConfig) -> float:
    """Work of one input, in the same unit: its variances, and coefficients of a series."""
    return _INPUT[_closed(config)] * config.hidden_layers


def pairs(config: PackConfig) -> bool:
    """Whether networks are recorded beside kernel machines of their own f_0."""
    return config.probes is not None and PAIRED_OUTPUTS in config.probes.quantities


def paired_bytes(config: PackConfig, info: DatasetInfo, runs: int) -> int:
    """Bytes of the machines beside the runs of a pack, all counted as if their limit were one; 0: none."""
    if not pairs(config):
        return 0
    # Of networks and machines on the test set, and what is added up of their difference.
    outputs = 6 * _DOUBLE * info.test_size * output_dim(config.loss, info)
    return runs * (machine_bytes(config, info, info.test_size) + outputs) + kernel_bytes(config, info)


def slice_work(config: PackConfig, info: DatasetInfo) -> float:
    """The most that a machine beside a run does before the clock is read: an update and an evaluation."""
    if not pairs(config):
        return 0.0
    rows = config.batch_size + info.test_size
    return rows * used_examples(config, info) * entry_work(config, info)
