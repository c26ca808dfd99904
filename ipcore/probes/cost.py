"""Arithmetic of a measurement, for whoever waits for it. Standard library only."""

from __future__ import annotations

from itertools import pairwise

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
    matrices = list(pairwise((input_dim, *[config.width] * config.hidden_layers, output_dim)))
    passes = 1 + 2 * bool(asked & BACKWARD) + 2 * ("alignment" in asked) + ("parts" in asked)
    cost = float(passes * n * sum(a * b for a, b in matrices))
    features = config.hidden_layers * min(n, config.width) ** 2 * max(n, config.width)
    if "kernels" in asked:
        cost += 3 * features
    if "ranks" in asked:
        # A Gram matrix and its eigenvalues, which cost about as much again.
        cost += 2 * (features + sum(min(a, b) ** 2 * max(a, b) for a, b in matrices))
    return cost
