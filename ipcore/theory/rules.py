"""Setting of the calculus besides the exponents: optimizer, loss, activation, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore import catalogue
from ipcore.catalogue.losses import Derivative
from ipcore.theory.activation import Activation, activation
from ipcore.theory.errors import Findings, TheoryError
from ipcore.theory.exponents import sequence
from ipcore.theory.given_alignment import Alignment
from ipcore.theory.maxplus import Size
from ipcore.theory.names import check_name
from ipcore.theory.parameterization import Parameterization

OPTIMIZERS: Final = {name: entry.description for name, entry in catalogue.ANALYSED_OPTIMIZERS.items()}
_DERIVATIVES: Final = {name: entry.derivative for name, entry in catalogue.LOSSES.items() if entry.derivative}
LOSSES: Final = {name: derivative.description for name, derivative in _DERIVATIVES.items()}
_NEAREST: Final = {
    "nesterov": "momentum",
    "nag": "momentum",
    "adamax": "adam",
    "nadam": "adam",
    "radam": "adam",
    "amsgrad": "adam",
    "rmsprop": "adam",
    "adagrad": "adam",
    "adadelta": "adam",
    "adafactor": "adam",
    "lamb": "adam",
    "lars": "momentum",
    "signsgd": "sign",
    "shampoo": "muon-unscaled",
    "soap": "adam",
    "scion": "muon-spectral",
    "tiger": "signum",
}
EPSILONS: Final = {
    "limit": "as its exponents d say for infinite width",
    "negligible": "small beside the gradients: updates are signs",
    "dominating": "large beside the gradients: gradient descent with c - d for c",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The setting of an analysis.

    Attributes:
        optimizer: Optimizer whose rule applies: "adam" for "adamw", too.
        activation: Local type of the activation.
        loss: Key of `LOSSES`.
        epsilon: Adam's epsilon in layers 1..L+1, keys of `EPSILONS`; (): "limit" in all of them.
        alignment: Exponents that are given; None: as the calculus derives them.
        block_matrices: Matrices per residual block (`ipcore.theory.residual`); 0: no blocks.
        normalized: Whether activations act on normalized preactivations (`ipcore.theory.normalization`).
    """

    optimizer: str
    activation: Activation
    loss: str
    epsilon: tuple[str, ...] = ()
    alignment: Alignment | None = None
    block_matrices: int = 0
    normalized: bool = False

    @property
    def entrywise(self) -> bool:
        """Whether the update has the size of its rate whatever the gradient's size, as a sign does."""
        return catalogue.KNOWN_OPTIMIZERS[self.optimizer].entrywise

    @property
    def orthogonalized(self) -> bool:
        """Whether such an update is an orthogonalized matrix, not a matrix of signs."""
        return any(catalogue.KNOWN_OPTIMIZERS[self.optimizer].entries)

    def entry(self, layer: int, hidden_layers: int) -> Fraction:
        """The exponent of the entries of such an update at rate 1.

        Args:
            layer: Index of the layer, 0..L.
            hidden_layers: L.
        """
        return update_entry(self.optimizer, layer, hidden_layers)

    def bias_entry(self, layer: int, hidden_layers: int) -> Fraction:
        """The same for a bias, a matrix with one input: as for W^1 in hidden layers, 0 at the output."""
        return update_entry(self.optimizer, 0, hidden_layers) if layer < hidden_layers else Fraction(0)

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

    def below_epsilon(self, layer: int, gradient: Fraction, d: Fraction) -> bool:
        """Whether epsilon m^{-d} dominates a gradient (with respect to w) of order m^gradient.

        Args:
            layer: Index of the layer, 0..L.
            gradient: Exponent of the gradient.
            d: Exponent of epsilon.
        """
        choice = self.epsilon[layer] if self.epsilon else "limit"
        return gradient < -d if choice == "limit" else choice == "dominating"

    def seen(self, h: Size) -> Size:
        """The size of the activation's input in a layer of size h: order 1 if it is normalized."""
        return Fraction(0) if self.normalized and h is not None else h

    def loss_derivative(self, f: Size) -> Fraction:
        """e(dloss/df): 0 for bounded derivatives (an upper bound where f grows), max(0, e(f)) for squares."""
        return Fraction(0) if self._derivative.bounded or f is None else max(Fraction(0), f)

    @property
    def _derivative(self) -> Derivative:
        return _DERIVATIVES[self.loss]


def rules(optimizer: str, activation_name: str, loss: str) -> Rules:
    """The setting from names.

    Raises:
        TheoryError: Optimizer, activation or loss that the calculus does not cover, with what it covers.
    """
    findings = Findings()
    with findings.noted():
        optimizer = rule_of(optimizer)
    with findings.noted():
        found = activation(activation_name)
    with findings.noted():
        check_name(loss, LOSSES, "loss")
    findings.check()
    return Rules(optimizer, found, loss)


def rule_of(optimizer: str) -> str:
    """The optimizer whose rule of theory applies to one in `OPTIMIZERS`.

    Raises:
        TheoryError: Theory lacks it; the message has the nearest one that it has.

    >>> rule_of("adamw")
    'adam'
    """
    near = _NEAREST.get(optimizer.strip().lower()) if isinstance(optimizer, str) else None
    if near is not None:
        covered = ", ".join(OPTIMIZERS)
        raise TheoryError(
            f"theory lacks {optimizer!r}; the nearest that it has is {near!r}; covered: {covered}",
            "optimizer",
        )
    check_name(optimizer, OPTIMIZERS, "optimizer")
    return catalogue.KNOWN_OPTIMIZERS[optimizer].analysed_as


def update_entry(optimizer: str, layer: int, hidden_layers: int) -> Fraction:
    """The exponent of the entries of an update at rate 1, where the gradient's size does not count.

    Args:
        optimizer: Key of `OPTIMIZERS`.
        layer: Index of the layer, 0..L.
        hidden_layers: L.

    >>> [str(update_entry("muon", layer, 2)) for layer in range(3)]
    ['0', '-1', '-1/2']
    """
    first, hidden, last = catalogue.KNOWN_OPTIMIZERS[optimizer].entries
    return first if layer == 0 else hidden if layer < hidden_layers else last


def epsilons(epsilon: str | Sequence[str] | None, optimizer: str, p: Parameterization) -> tuple[str, ...]:
    """The epsilon of every layer, from the argument of `analyze`; () for none.

    Args:
        epsilon: One key of `EPSILONS` for all layers, or L+1 of them. None: "limit".
        optimizer: Key of `OPTIMIZERS`.
        p: The parameterization.

    Raises:
        TheoryError: Unknown names, a wrong number of them, another optimizer than Adam, or "dominating"
            for a parameterization without exponents d.
    """
    if epsilon is None:
        return ()
    given = (epsilon,) * len(p.a) if isinstance(epsilon, str) else tuple(sequence(epsilon, "epsilon"))
    if len(given) != len(p.a):
        raise TheoryError(
            f"has {len(given)} entries; it needs 1 or {len(p.a)}, one for each weight matrix", "epsilon"
        )
    for choice in given:
        check_name(choice, EPSILONS, "epsilon")
    if set(given) == {"limit"}:
        return ()
    if not catalogue.KNOWN_OPTIMIZERS[rule_of(optimizer)].has_epsilon:
        raise TheoryError(f"only adam has an epsilon, {optimizer} has none; leave it out", "epsilon")
    if "dominating" in given and any(phase.d is None for phase in p.phases):
        raise TheoryError(
            "an epsilon that dominates needs its exponents d (d = 0 in every layer: the same epsilon at all "
            "widths); without them it is taken as negligible",
            "epsilon",
        )
    return given
