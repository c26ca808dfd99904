"""Memory that probes need, before anything is allocated. Standard library only.

The initial weights are kept where a quantity reads them, the initial preactivations likewise
(`ipcore.probes.definition.Tap`). A measurement needs a bounded amount on top: it looks at a few runs at a
time.
"""

from __future__ import annotations

from typing import Final

from ipcore.config import PackConfig, Probes
from ipcore.engine.memory import engine_memory
from ipcore.models import Architecture
from ipcore.models.tally import tally
from ipcore.probes.definition import Sizes, Tap, room_of_values
from ipcore.probes.quantities import asked, inside

# What the runs that are measured at once may need together (one run at least).
SLICE_BYTES: Final = 2**27
# Taps that need the initial weights.
WEIGHTS: Final = frozenset({Tap.INITIAL_WEIGHTS, Tap.ISOLATED})


def probe_memory_bytes(
    config: PackConfig, input_dim: int, output_dim: int, runs: int, itemsize: int = 4
) -> int:
    """Bytes that the probes of a pack need at most.

    Args:
        config: Configuration of the pack.
        input_dim: d.
        output_dim: Numbers per output of a network.
        runs: K.
        itemsize: Bytes per number: 4, or 8 in double precision.

    >>> probe_memory_bytes(PackConfig("digits", 2, 8, "relu", 4, 10), 64, 10, runs=3)
    0
    """
    probes = inside(config.probes)
    if probes is None:
        return 0
    architecture = config.architecture(input_dim, output_dim)
    at_once = min(runs, slice_runs(config, probes, architecture, itemsize))
    inputs = probes.examples * (itemsize * input_dim + 8 * output_dim)
    kept = runs * _baseline(probes, architecture, itemsize)
    return inputs + kept + at_once * working_bytes(config, probes, architecture, itemsize)


def slice_runs(config: PackConfig, probes: Probes, architecture: Architecture, itemsize: int) -> int:
    """Runs that are measured at once."""
    return max(1, SLICE_BYTES // working_bytes(config, probes, architecture, itemsize))


def working_bytes(config: PackConfig, probes: Probes, architecture: Architecture, itemsize: int) -> int:
    """Bytes per run that one measurement needs at its largest moment, without what is kept.

    Args:
        config: Configuration of the pack.
        probes: What is measured.
        architecture: Architecture of each network.
        itemsize: Bytes per number.
    """
    # Labels with as many numbers as there are outputs, and biases in every layer, need the most.
    engine = engine_memory(config, architecture, architecture.output_dim, itemsize, own_biases=True)
    sizes = Sizes(probes.examples, architecture, config.batch_size, itemsize, engine.total)
    # What the forward pass yields; derivatives by what matmuls and sums yield, and those under way.
    counted = tally(architecture)
    passes = sizes.examples * counted.values
    if Tap.DERIVATIVES in taps(probes):
        passes += sizes.examples * counted.preactivations + sizes.widest
    rooms = [definition.room(sizes) for definition in asked(probes)]
    return itemsize * passes + max(room_of_values(sizes), *rooms)


def taps(probes: Probes) -> frozenset[Tap]:
    """Tensors that the requested quantities need besides the values at step t."""
    return frozenset(tap for definition in asked(probes) for tap in definition.reads)


def _baseline(probes: Probes, architecture: Architecture, itemsize: int) -> int:
    kept = taps(probes)
    weights = sum(a * b for a, b in architecture.matrices) if kept & WEIGHTS else 0
    # Biases in every layer, whether the runs have them or not.
    weights += sum(architecture.outputs) if Tap.ISOLATED in kept else 0
    values = probes.examples * sum(architecture.outputs) if Tap.INITIAL_VALUES in kept else 0
    return itemsize * (weights + values)
