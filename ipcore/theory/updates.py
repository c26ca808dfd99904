"""The sum of the updates of the weights so far, as exponents."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from fractions import Fraction

from ipcore.theory.maxplus import Size, largest
from ipcore.theory.parameterization import Parameterization, RatePhase
from ipcore.theory.rules import Rules
from ipcore.theory.units import Unit, counted


@dataclass(frozen=True, slots=True)
class Rates:
    """Exponents of the rates of one step, as they are counted.

    Attributes:
        c: L+1 of them.
        d: Exponents of Adam's epsilon; None: it is negligible.
    """

    c: list[Fraction]
    d: list[Fraction] | None

    @classmethod
    def of(cls, unit: Unit, phase: RatePhase, faster: Sequence[Fraction] | None) -> Rates:
        """Those of a phase; with `faster` m^{faster_l} times as large."""
        c = phase.c if faster is None else [c - more for c, more in zip(phase.c, faster, strict=True)]
        return cls(counted(unit, c), None if phase.d is None else counted(unit, phase.d))


class Updates:
    """The entries that updates have added to matrices and biases, and the gradients that momentum keeps.

    Args:
        p: The parameterization.
        rules: The optimizer.
        unit: In which exponents are counted.

    Attributes:
        first: What the gradient of step 0 has added to the entries of W^l, L+1 exponents; None: nothing yet.
        later: What later gradients have added.
        bias: What was added to biases with exponents of their own.
        signs: Whether some update so far was a sign, or orthogonalized: no linear function of the gradient.
    """

    def __init__(self, p: Parameterization, rules: Rules, unit: Unit) -> None:
        self._rules, self._unit = rules, unit
        L = p.hidden_layers
        self._a = counted(unit, p.a)
        self._bias_a = [] if p.biases is None else counted(unit, p.biases.a)
        # Entries of updates at rate 1, where they have a size of their own: of matrices, of biases.
        layers = range(L + 1) if rules.entrywise else ()
        self._own = counted(unit, [rules.entry(i, L) for i in layers])
        self._bias_own = counted(unit, [rules.bias_entry(i, L) for i in layers])
        nothing: list[Size] = [None] * (L + 1)
        self.first, self.later, self.bias = list(nothing), list(nothing), list(nothing)
        # Largest gradients so far, for momentum: by step 0, by later steps, of biases.
        self._first_gradient, self._later_gradient = list(nothing), list(nothing)
        self._bias_gradient = list(nothing)
        self.signs = False

    def add(
        self,
        step: int,
        gradients: Sequence[Size],
        dh: Sequence[Size],
        phase: RatePhase,
        bias_phase: RatePhase | None,
        faster: Sequence[Fraction] | None,
    ) -> None:
        """Add the updates of one step.

        Args:
            step: Updates done before.
            gradients: Exponents of the gradients by W^l, L+1 of them.
            dh: Derivatives by the preactivations, the gradients of biases.
            phase: Exponents of the rates.
            bias_phase: Likewise of biases with exponents of their own.
            faster: Rates of layer l, and of its bias, are m^{faster_l} times as large; None: as they are.
        """
        momentum = self._rules.accumulates
        rates = Rates.of(self._unit, phase, faster)
        biases = None if bias_phase is None else Rates.of(self._unit, bias_phase, faster)
        for i, now in enumerate(gradients):
            gradient = now
            if step == 0:
                self._first_gradient[i] = gradient
                self.first[i] = self._entry(i, gradient, rates)
            else:
                if momentum:
                    gradient = self._later_gradient[i] = largest(self._later_gradient[i], gradient)
                    first = self._entry(i, self._first_gradient[i], rates)
                    self.first[i] = largest(self.first[i], first)
                self.later[i] = largest(self.later[i], self._entry(i, gradient, rates))
            if self._bias_a and biases is not None:
                self._bias_gradient[i] = largest(dh[i], self._bias_gradient[i] if momentum else None)
                entry = self._entry(i, self._bias_gradient[i], biases, bias=True)
                self.bias[i] = largest(self.bias[i], entry)

    def kept_gradient(self, i: int) -> Size:
        """The largest gradient of W^l so far, which a velocity holds."""
        return largest(self._first_gradient[i], self._later_gradient[i])

    def _entry(self, i: int, gradient: Size, rates: Rates, *, bias: bool = False) -> Size:
        """Entries of m^{-a} eta m^{-c} update(w), the gradient of w being m^{-a} times that of W."""
        if gradient is None:
            return None
        a, c = (self._bias_a if bias else self._a)[i], rates.c[i]
        if not self._rules.entrywise:
            return gradient - c - 2 * a
        d = None if rates.d is None else rates.d[i]
        if d is None or not self._rules.epsilon_matters or not self._rules.below_epsilon(i, gradient - a, d):
            self.signs = True
            return (self._bias_own if bias else self._own)[i] - c - a
        return gradient - c + d - 2 * a  # epsilon larger than the gradient: SGD with c - d

    def entries(self) -> tuple[Size, ...]:
        """Sizes of the sums of updates of W^l, L+1 exponents; None: no update yet."""
        return tuple(largest(*pair) for pair in zip(self.first, self.later, strict=True))

    def replaced(self, entries: Sequence[Size]) -> Updates:
        """Others that have added these entries to matrices."""
        other = copy(self)
        other.first, other.later = [None] * len(entries), list(entries)
        return other

    def columns(self) -> tuple[list[Size], ...]:
        """All that later steps depend on."""
        momentum = (self._first_gradient, self._later_gradient, self._bias_gradient)
        return (self.first, self.later, self.bias, *momentum)

    def take(self, columns: Sequence[Sequence[Size]]) -> None:
        """Go on from `columns` of others."""
        self.first, self.later, self.bias, *momentum = map(list, columns)
        self._first_gradient, self._later_gradient, self._bias_gradient = momentum
