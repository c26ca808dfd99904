"""Declaration of a probe: its quantities with their formulas, and the cost of a measurement.

Each probe is one file beside this one, which `ipcore.catalogue.PROBES` names. So the name of a quantity, its
meaning and its formula are in one place. Standard library only: names of quantities are needed where torch is
not loaded, so files of probes import torch inside their formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ipcore.models import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from ipcore.probes.taps import Layer


class Tap(StrEnum):
    """Tensors with a cost: a copy of step 0, or a separate pass.

    All others (weights, inputs of matmuls, preactivations and activations at step t) are always available.
    """

    INITIAL_WEIGHTS = "W_0"
    INITIAL_VALUES = "h_0"
    DERIVATIVES = "dh"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number per run and layer.

    Attributes:
        name: The metric of layer l is called "name/l".
        description: One line.
        formula: From the tensors of a layer to one number per run, (K,) float64; not finite where it is not
            defined.
        reads: Taps that the formula needs.
        readout: Whether the last layer, the output, has it too.
        first: The lowest layer that has it.
    """

    name: str
    description: str
    formula: Callable[[Layer], Tensor]
    reads: tuple[Tap, ...] = ()
    readout: bool = True
    first: int = 1

    def layers(self, count: int) -> range:
        """Layers that have it in a network of so many weight matrices."""
        return range(self.first, count + (1 if self.readout else 0))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes on which the cost of a measurement depends.

    Attributes:
        examples: n.
        architecture: Architecture of each network.
        batch: B, examples of an update.
        itemsize: Bytes per number: 4, or 8 in double precision.
        engine: Bytes per run of an engine with its optimizer and one batch.
    """

    examples: int
    architecture: Architecture
    batch: int
    itemsize: int = 4
    engine: int = 0

    @property
    def widest(self) -> int:
        """Numbers of the largest layer's values on all examples."""
        return self.examples * max(self.architecture.input_dim, *self.architecture.outputs)

    @property
    def matrix(self) -> int:
        """Entries of the largest matrix."""
        return max(a * b for a, b in self.architecture.matrices)

    @property
    def entries(self) -> int:
        """Entries of all matrices."""
        return sum(a * b for a, b in self.architecture.matrices)

    @property
    def features(self) -> int:
        """Multiply-adds of the Gram matrices of all hidden layers' activations, the smaller of each."""
        n = self.examples
        return sum(min(n, m) ** 2 * max(n, m) for m in self.architecture.outputs[:-1])


def no_work(sizes: Sizes) -> float:
    """No cost beyond the passes through the network."""
    return 0.0


def room_of_values(sizes: Sizes) -> int:
    """Values of a layer with their copies in double precision, in bytes."""
    return (3 * sizes.itemsize + 16) * sizes.widest


def room_of_matrices(sizes: Sizes) -> int:
    """A difference of matrices and its squares, in bytes."""
    return (3 * sizes.itemsize + 8) * sizes.matrix + 8 * sizes.widest


@dataclass(frozen=True, slots=True)
class Definition:
    """The declaration of a probe.

    Attributes:
        quantities: In the order in which they are recorded. Intermediate results that neighbours share are
            computed once (`ipcore.probes.taps.Layer.once`).
        room: Peak memory of a formula in bytes per run, besides the taps.
        work: Multiply-adds per run of all layers, besides those of the taps.
        metrics: Metrics of the outputs on the test set, which need no values from inside the networks.
    """

    quantities: tuple[Quantity, ...]
    room: Callable[[Sizes], int] = room_of_values
    work: Callable[[Sizes], float] = no_work
    metrics: tuple[str, ...] = ()

    @property
    def reads(self) -> frozenset[Tap]:
        """Taps that any of its quantities needs."""
        return frozenset(tap for quantity in self.quantities for tap in quantity.reads)
