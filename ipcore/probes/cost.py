"""Arithmetic of a measurement, to estimate its time. Standard library only."""

from __future__ import annotations

from ipcore.config import PackConfig
from ipcore.probes.definition import Sizes, Tap
from ipcore.probes.memory import taps
from ipcore.probes.quantities import asked, inside


def probe_cost(config: PackConfig, input_dim: int, output_dim: int) -> float:
    """Approximate multiply-adds of one measurement of one run; all layers are counted.

    The probe `outputs` is not included: it costs an evaluation of the test set.

    Args:
        config: Configuration of the pack.
        input_dim: d.
        output_dim: Numbers per output of a network.

    >>> probe_cost(PackConfig("digits", 2, 8, "relu", 4, 10), 64, 10)
    0.0
    """
    probes = inside(config.probes)
    if probes is None:
        return 0.0
    sizes = Sizes(probes.examples, config.architecture(input_dim, output_dim), config.batch_size)
    # Forward; with derivatives also the backward pass and the products that make gradients.
    passes = 3 if Tap.DERIVATIVES in taps(probes) else 1
    work = sum(definition.work(sizes) for definition in asked(probes))
    return float(passes * sizes.examples * sizes.entries) + work
