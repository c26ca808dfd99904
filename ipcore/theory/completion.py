"""Completion: the largest stable rates for given (a, b).

With r >= 0 as small as possible, every hidden layer shall change by m^{-r} and the output by at most order 1:

    e(Delta h^l) = -r for l = 1..L,   e(Delta f) <= 0

solved layer by layer for c at step 0, and again from step 1 on, when the first update has changed the sizes.
r = 0 (features move as much as they can) unless the initial readout forbids it: r = 1/2 for SP and NTK.
Inside the class of Yang & Hu (arXiv:2011.14522) this has a closed form, see docs/theory.md; beyond it, it
gives the large first rates of Hajjar et al. (arXiv:2110.15596) from IP's (a, b). For Adam the epsilon
exponents are completed too: those that keep epsilon as large as the gradient (faithful, Yang & Littwin,
arXiv:2308.01814).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from ipcore.theory.calculus import Propagation, Sizes
from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import power
from ipcore.theory.maxplus import above, nonzero
from ipcore.theory.parameterization import (
    Biases,
    Parameterization,
    RatePhase,
    Reweighting,
    check_depth,
    expand_layers,
)
from ipcore.theory.report import completion_text
from ipcore.theory.rules import Rules, rules
from ipcore.theory.verdict import SOFTMAX_CANCELS

_ZERO: Final = Fraction(0)


@dataclass(frozen=True, slots=True)
class Completion:
    """Rates that complete (a, b).

    Attributes:
        parameterization: (a, b) with the largest rates that are stable for certain.
        optimizer: Name of the optimizer.
        activation: Name of the activation.
        r: Every hidden layer changes by m^{-r} per step if its updates are aligned.
        maximal: Whether the updates reach that size. False: no first step is both non-vanishing and stable.
        reason: Why these rates, or why none is maximal, in words.
    """

    parameterization: Parameterization
    optimizer: str
    activation: str
    r: Fraction
    maximal: bool
    reason: str

    @property
    def summary(self) -> str:
        """One sentence."""
        phases = len(self.parameterization.phases)
        kind = "one set of rates" if phases == 1 else "other rates in the first step than later"
        return f"{kind}, r = {self.r}: {self.reason}"

    def __str__(self) -> str:
        return completion_text(self)

    def __rich__(self) -> str:
        """For rich, which would print a dataclass field by field."""
        return str(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; exponents are exact texts."""
        return {
            "parameterization": self.parameterization.to_dict(),
            "optimizer": self.optimizer,
            "activation": self.activation,
            "r": str(self.r),
            "maximal": self.maximal,
            "reason": self.reason,
            "summary": self.summary,
        }


def complete(
    a: Sequence[str | Fraction | int],
    b: Sequence[str | Fraction | int],
    *,
    hidden_layers: int | None = None,
    optimizer: str = "sgd",
    activation: str = "relu",
    loss: str = "cross_entropy",
    biases: Biases | None = None,
    mean: tuple[Fraction | None, ...] | None = None,
    reweightings: Sequence[Reweighting] = (),
) -> Completion:
    """The largest stable rates for given multipliers and initial standard deviations.

    Args:
        a: Multipliers: L+1 entries, or three (first, hidden, last) with `hidden_layers`.
        b: Initial standard deviations, likewise.
        hidden_layers: L; None: one less than the entries of `a`.
        optimizer: Key of `OPTIMIZERS`; with "adam" the epsilon exponents d are completed too.
        activation: Name of the activation.
        loss: Key of `LOSSES`.
        biases: Biases with exponents of their own; their rates are completed, those given are not used.
        mean: As in `Parameterization`.
        reweightings: Refused unless empty, so that those of a parameterization are not lost in silence.

    Raises:
        TheoryError: Lists that do not fit, unknown names, re-weighted initial matrices, an (a, b) that no
            rates make stable, or one whose layers cannot all change by the same m^{-r}.

    >>> done = complete(["0", "1", "1"], ["0", "0", "0"], hidden_layers=6)
    >>> [str(c) for c in done.parameterization.c_at(0)]
    ['-7/2', '-4', '-4', '-4', '-4', '-4', '-7/2']
    """
    if hidden_layers is None and len(a) < 2:
        raise TheoryError(f"has {len(a)} entries; a network has at least 2 layers (one hidden)", "a")
    L = len(a) - 1 if hidden_layers is None else hidden_layers
    check_depth(L)
    if reweightings:
        raise TheoryError(
            "not covered: completion with re-weighted initial matrices ('hp', 'hpz'); covered are initial "
            "matrices that stay: 'mup' has the same (a, b)",
            "reweightings",
        )
    setting = rules(optimizer, activation, loss)
    zeros = (RatePhase(0, (_ZERO,) * (L + 1)),)
    start = Parameterization(expand_layers(a, L, "a"), expand_layers(b, L, "b"), zeros, biases, mean)
    # What may cancel in the first backward pass is counted: rates that are stable whatever the loss.
    cancels = mean is not None and setting.cancels
    solver = _Solver(start, replace(setting, loss="logistic") if cancels else setting)
    solved, first = solver.solve()
    maximal, reason = _judge(solved, setting, solver.r, first)
    return Completion(solved, optimizer, activation, solver.r, maximal, reason)


class _Solver:
    """Steps through the calculus, choosing each step's rates from the sizes before it."""

    def __init__(self, p: Parameterization, setting: Rules) -> None:
        self.p, self.rules, self.L = p, setting, p.hidden_layers
        self.run = Propagation(p, setting)
        initial = self.run.forward(0)
        self._check_initial(initial)
        self.run.backward(0)
        self.r = self._smallest_r()
        # Sizes after any completed step: the initial ones or the change, whichever is larger.
        self._x_next = [setting.activation.size(max(h, -self.r)) for h in self.run.h0[: self.L]]

    def solve(self) -> tuple[Parameterization, Sizes]:
        """The parameterization with its phases, and the sizes after the first update."""
        phases: list[RatePhase] = []
        bias_phases: list[RatePhase] = []
        first: Sizes | None = None
        for step in range(4 * (self.L + 2)):
            phase, bias_phase = self._phase(step)
            before = self.run.state()
            self.run.update(step, phase, bias_phase)
            sizes = self.run.forward(step + 1)
            self._check(sizes)
            self.run.backward(step + 1)
            first = first or sizes
            _append(phases, phase)
            if bias_phase is not None:
                _append(bias_phases, bias_phase)
            if self.run.state() == before:
                break
        biases = self.p.biases
        if biases is not None:
            biases = Biases(biases.a, biases.b, tuple(bias_phases))
        done = Parameterization(self.p.a, self.p.b, tuple(phases), biases, self.p.mean)
        return done, first or self.run.forward(0)

    def _check_initial(self, initial: Sizes) -> None:
        for i, h in enumerate(initial.h):
            if above(h, _ZERO):
                name = "the output" if i == self.L else f"h^{i + 1}"
                raise TheoryError(
                    f"no rates make it stable: {name} is of order {power(h)} at initialization; "
                    f"raise a or b of layer {i + 1} or below",
                    f"a[{i}]",
                )

    def _smallest_r(self) -> Fraction:
        # f changes through W_0 by m^{-(a+b)+1} times the change of x^L: at most order 1.
        last, phi = self.L, self.rules.activation
        needed = -(self.run.initial[last] + 1)
        if needed >= 0:
            return _ZERO
        return max(_ZERO, -phi.change_needed(self.run.h0[last - 1], needed))

    def _phase(self, step: int) -> tuple[RatePhase, RatePhase | None]:
        run, p = self.run, self.p
        c: list[Fraction] = []
        d: list[Fraction] = []
        bias_c: list[Fraction] = []
        bias_d: list[Fraction] = []
        for i in range(self.L + 1):
            target = _ZERO if i == self.L else -self.r
            summed = _ZERO if i == 0 else 1 + nonzero(self._x_next[i - 1])
            gradient = nonzero(run.largest_gradient(i))
            entry = -p.a[i] if self.rules.entrywise else gradient - 2 * p.a[i]
            c.append(entry + summed - target)
            d.append(p.a[i] - gradient)
            if p.biases is not None:
                slope = nonzero(run.dh[i])
                own = p.biases.a[i]
                bias_c.append((-own if self.rules.entrywise else slope - 2 * own) - target)
                bias_d.append(own - slope)
        adam = self.rules.epsilon_matters
        phase = RatePhase(step, tuple(c), tuple(d) if adam else None)
        if p.biases is None:
            return phase, None
        return phase, RatePhase(step, tuple(bias_c), tuple(bias_d) if adam else None)

    def _check(self, sizes: Sizes) -> None:
        for i, change in enumerate(sizes.change):
            target = _ZERO if i == self.L else -self.r
            if above(change, target):
                name = "the output" if i == self.L else f"h^{i + 1}"
                raise TheoryError(
                    f"no rates let every hidden layer change by {_order(self.r)} and the output by order 1: "
                    f"the initial matrix of layer {i + 1} turns the change below into {power(change)} of "
                    f"{name}; a + b must be at least 1/2 there",
                    f"a[{i}]",
                )


def _order(r: Fraction) -> str:
    return "order 1" if r == 0 else power(-r)


def _append(phases: list[RatePhase], phase: RatePhase) -> None:
    if not phases or (phases[-1].c, phases[-1].d) != (phase.c, phase.d):
        phases.append(phase)


def _judge(p: Parameterization, setting: Rules, r: Fraction, first: Sizes) -> tuple[bool, str]:
    """Whether the first update reaches its size if inner products are taken as they are."""
    low = Propagation(p, setting, aligned=False)
    low.forward(0)
    low.backward(0)
    low.update(0, p.phase_at(0), None if p.biases is None else p.biases.phase_at(0))
    reached = low.forward(1)
    short = [i for i, (want, got) in enumerate(zip(first.change, reached.change, strict=True)) if want != got]
    if not short:
        if r == 0:
            return True, "every hidden layer and the output change by order 1 in every step"
        return (
            True,
            f"the output changes by order 1, hidden layers by {power(-r)}: larger rates make the output grow",
        )
    names = [f"{'f' if i == p.hidden_layers else f'h^{i + 1}'} by {power(reached.change[i])}" for i in short]
    if p.mean is not None and setting.cancels:
        return False, (
            f"{SOFTMAX_CANCELS}: the first step changes {', '.join(names)} only. These rates are stable "
            "whatever the loss; with one output (loss logistic) they are the largest"
        )
    estimate = " (for sign-like updates this is an estimate)" if setting.entrywise else ""
    return False, (
        "no first step is both non-vanishing and stable: activations vanish at initialization and "
        f"{setting.activation.name} is linear at 0, so they are centred and independent of the first update "
        f"of their layer, and these rates change {', '.join(names)} only{estimate}. Rates larger by m^(1/2) "
        "per layer would make the first step of order 1, but then the next backward pass is aligned with it "
        "and the output grows in step 2. Activations with a kink at 0 (relu) or biases of order 1 (ip-bias) "
        "have no such gap"
    )
