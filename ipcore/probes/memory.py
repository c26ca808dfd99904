"""Memory that probes need, before anything is allocated. Standard library only.

The initial weights are kept where a probe compares with them, the initial preactivations likewise. What a
measurement needs on top is bounded: it looks at a few runs at a time.
"""

from __future__ import annotations

from typing import Final

from ipcore.config import PackConfig, Probes
from ipcore.models import Architecture
from ipcore.models.tally import tally

# Probes that look at W_t - W_0, that need W_0, that compare with h_0, and that need a backward pass.
COMPARE_WEIGHTS: Final = frozenset({"gradients", "alignment", "ranks"})
KEEP_WEIGHTS: Final = COMPARE_WEIGHTS | {"parts"}
COMPARE_ACTIVATIONS: Final = frozenset({"coordinates", "parts", "kernels", "alignment"})
BACKWARD: Final = frozenset({"gradients", "alignment"})
# What the runs that are measured at once may need together (one run at least).
SLICE_BYTES: Final = 2**27


def probe_memory_bytes(
    config: PackConfig, input_dim: int, output_dim: int, runs: int, itemsize: int = 4
) -> int:
    """Bytes that the probes of a pack need at most.

    Args:
        config: Of the pack.
        input_dim: d.
        output_dim: Numbers per output of a network.
        runs: K.
        itemsize: Bytes per number: 4, or 8 in double precision.

    >>> probe_memory_bytes(PackConfig("digits", 2, 8, "relu", 4, 10), 64, 10, runs=3)
    0
    """
    if config.probes is None:
        return 0
    architecture = config.architecture(input_dim, output_dim)
    at_once = min(runs, slice_runs(config.probes, architecture, itemsize))
    inputs = config.probes.examples * (itemsize * input_dim + 8 * output_dim)
    kept = runs * _baseline(config.probes, architecture, itemsize)
    return inputs + kept + at_once * working_bytes(config.probes, architecture, itemsize)


def slice_runs(probes: Probes, architecture: Architecture, itemsize: int) -> int:
    """Runs that are measured at once."""
    return max(1, SLICE_BYTES // working_bytes(probes, architecture, itemsize))


def working_bytes(probes: Probes, architecture: Architecture, itemsize: int) -> int:
    """Bytes per run that one measurement needs at its largest moment, without what is kept.

    Args:
        probes: What is measured.
        architecture: Of each network.
        itemsize: Bytes per number.
    """
    n, names = probes.examples, frozenset(probes.quantities)
    outputs, matrices = architecture.outputs, architecture.matrices
    widest = n * max(architecture.input_dim, *outputs)
    # What the forward pass yields; derivatives by what matmuls and sums yield, and those under way.
    counted = tally(architecture)
    passes = n * counted.values
    if names & BACKWARD:
        passes += n * counted.preactivations + widest
    matrix = max(a * b for a, b in matrices)
    # The largest of: statistics of activations (values and their double precision copies) ...
    transient = (3 * itemsize + 16) * widest
    if names & {"parts", "alignment"}:  # ... and of what changed, here and in the layer below ...
        transient += 2 * itemsize * widest
    if names & COMPARE_WEIGHTS:  # ... of matrices (difference, its squares) ...
        transient = max(transient, (3 * itemsize + 8) * matrix + 8 * widest)
    if "ranks" in names:  # ... their Gram matrices with LAPACK's copies ...
        gram = max(min(a, b) for a, b in [*matrices, (n, max(outputs))])
        transient = max(transient, (2 * itemsize + 16) * max(matrix, widest) + 40 * gram**2)
    if "kernels" in names:  # ... centred features and kernels at two steps.
        transient = max(transient, 40 * widest + 40 * min(n, widest // n) ** 2)
    return itemsize * passes + transient


def _baseline(probes: Probes, architecture: Architecture, itemsize: int) -> int:
    names = frozenset(probes.quantities)
    weights = sum(a * b for a, b in architecture.matrices) if names & KEEP_WEIGHTS else 0
    activations = probes.examples * sum(architecture.outputs) if names & COMPARE_ACTIVATIONS else 0
    return itemsize * (weights + activations)
