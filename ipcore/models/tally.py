"""Cost of a network's forward pass, counted by running it with sizes for values. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.models.model import Architecture


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers per example of a network.

    Attributes:
        forward: Multiply-adds of all matmuls.
        update: Those of an update: forward, gradients by the matrices, gradients by all inputs of matmuls but
            the network's own.
        values: Outputs of operations; a backward pass may need them again.
        preactivations: Those of `values` that are outputs of a matmul or a sum.
        derivatives: Derivatives by inputs of matmuls, of the last layer and where inputs and outputs
            differ in size; and by the root mean squares of normalizations.
        operations: Number of operations.
        lone: For each activation in their order, whether nothing else needs its preactivation, so that its
            value may take that one's place. Never where a matrix is used several times, since its inputs are
            needed until the last use.
        spared: Numbers of these preactivations.
    """

    forward: int
    update: int
    values: int
    preactivations: int
    derivatives: int
    operations: int
    lone: tuple[bool, ...] = ()
    spared: int = 0


def tally(architecture: Architecture) -> Tally:
    """Count a network.

    >>> from ipcore.models.mlp import Mlp
    >>> tally(Architecture(Mlp(), hidden_layers=1, width=8, input_dim=4, output_dim=2))
    ... # doctest: +NORMALIZE_WHITESPACE
    Tally(forward=48, update=112, values=18, preactivations=10, derivatives=8, operations=3,
          lone=(True,), spared=8)
    """
    counter = _Counter(architecture)
    architecture.forward(counter, _Value(architecture.input_dim, trained=False))
    return Tally(
        counter.forward,
        counter.update,
        counter.values,
        counter.preactivations,
        counter.derivatives,
        counter.operations,
        tuple(map(counter.alone, counter.activated)),
        sum(h.size for h in counter.activated if counter.alone(h)),
    )


@dataclass(slots=True)
class _Value:
    """Numbers per example, whether they depend on a tensor that is trained, and number of needs.

    An operation needs its inputs, and a normalization its output too.
    """

    size: int
    trained: bool = True
    needed: int = 0


class _Counter:
    def __init__(self, architecture: Architecture) -> None:
        self._matrices = architecture.matrices
        self.forward = self.update = self.values = self.operations = 0
        self.preactivations = self.derivatives = 0
        self.activated: list[_Value] = []
        self._uses = [0] * len(self._matrices)

    def alone(self, h: _Value) -> bool:
        """Whether only its activation needs a preactivation, once the network was counted."""
        return h.needed == 1 and max(self._uses) == 1

    def linear(self, layer: int, x: _Value) -> _Value:
        outputs, inputs = self._matrices[layer - 1]
        x.needed += 1
        self._uses[layer - 1] += 1
        self.forward += outputs * inputs
        self.update += outputs * inputs * (3 if x.trained else 2)
        self.preactivations += outputs
        if x.trained and (inputs != outputs or layer == len(self._matrices)):
            self.derivatives += inputs
        return self._yields(outputs)

    def activate(self, layer: int, h: _Value) -> _Value:
        h.needed += 1
        self.activated.append(h)
        return self._yields(h.size)

    def normalize(self, layer: int, h: _Value) -> _Value:
        # One number per example each: the inverse of the root mean square, and its derivative.
        self.values += 1
        self.derivatives += 1
        h.needed += 1
        y = self._yields(h.size)
        y.needed += 1
        return y

    def add(self, h: _Value, branch: _Value, scale: float) -> _Value:
        self.preactivations += h.size
        h.needed += 1
        branch.needed += 1
        return self._yields(h.size)

    def _yields(self, size: int) -> _Value:
        self.values += size
        self.operations += 1
        return _Value(size)
