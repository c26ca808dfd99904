"""Arithmetic of a measurement, for whoever waits for it. Standard library only."""

from __future__ import annotations

from ipcore.config import PackConfig
from ipcore.probes.memory import BACKWARD


def probe_cost(config: PackConfig, input_dim: int, output_dim: int) -> float:
    """Multiply-adds of measuring one run once, about; all layers are counted, whichever are asked for.

    Args:
        config: Of the pack.
        input_dim: d.
        output_dim: Numbers per output of a network.

    >>> probe_cost(PackConfig("digits", 2, 8, "relu", 4, 10), 64, 10)
    0.0
    """
    if config.probes is None:
        return 0.0
    n, asked = config.probes.examples, frozenset(config.probes.quantities)
    architecture = config.architecture(input_dim, output_dim)
    matrices = architecture.matrices
    passes = 1 + (2 if asked & BACKWARD else 0) + (4 if "alignment" in asked else 0) + ("parts" in asked)
    cost = float(passes * n * sum(a * b for a, b in matrices))
    features = sum(min(n, m) ** 2 * max(n, m) for m in architecture.outputs[:-1])
    if "kernels" in asked:
        cost += 3 * features
    if "ranks" in asked:
        # A Gram matrix and its eigenvalues, which cost about as much again.
        cost += 2 * (features + sum(min(a, b) ** 2 * max(a, b) for a, b in matrices))
    return cost
