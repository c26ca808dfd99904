"""What besides the exponents enters the calculus: optimizer, loss, activation, by their names."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore import catalogue
from ipcore.catalogue.losses import Derivative
from ipcore.theory.activation import Activation, activation
from ipcore.theory.maxplus import Size
from ipcore.theory.names import check_name

OPTIMIZERS: Final = {name: entry.description for name, entry in catalogue.ANALYSED_OPTIMIZERS.items()}
_DERIVATIVES: Final = {name: entry.derivative for name, entry in catalogue.LOSSES.items() if entry.derivative}
LOSSES: Final = {name: derivative.description for name, derivative in _DERIVATIVES.items()}


@dataclass(frozen=True, slots=True)
class Rules:
    """The setting of an analysis.

    Attributes:
        optimizer: Optimizer whose rule applies: "adam" for "adamw", too.
        activation: Local type of the activation.
        loss: Key of `LOSSES`.
    """

    optimizer: str
    activation: Activation
    loss: str

    @property
    def entrywise(self) -> bool:
        """Whether the update is (nearly) a sign of the gradient."""
        return catalogue.KNOWN_OPTIMIZERS[self.optimizer].entrywise

    @property
    def accumulates(self) -> bool:
        """Whether a velocity holds raw gradients, and rates apply on use."""
        return catalogue.KNOWN_OPTIMIZERS[self.optimizer].accumulates

    @property
    def epsilon_matters(self) -> bool:
        """Whether entries of the gradient below epsilon m^{-d_l} count less."""
        return catalogue.KNOWN_OPTIMIZERS[self.optimizer].has_epsilon

    @property
    def cancels(self) -> bool:
        """Whether the loss derivatives of the outputs sum to exactly 0, as those of a softmax do."""
        return self._derivative.cancels

    def loss_derivative(self, f: Size) -> Fraction:
        """e(dloss/df): 0 for bounded derivatives (an upper bound where f grows), max(0, e(f)) for squares."""
        return Fraction(0) if self._derivative.bounded or f is None else max(Fraction(0), f)

    @property
    def _derivative(self) -> Derivative:
        return _DERIVATIVES[self.loss]


def rules(optimizer: str, activation_name: str, loss: str) -> Rules:
    """The setting from names.

    Raises:
        TheoryError: An optimizer, activation or loss that the calculus does not cover, with what it covers.
    """
    check_name(optimizer, OPTIMIZERS, "optimizer")
    check_name(loss, LOSSES, "loss")
    return Rules(catalogue.KNOWN_OPTIMIZERS[optimizer].analysed_as, activation(activation_name), loss)
