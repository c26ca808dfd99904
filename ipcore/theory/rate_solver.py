"""Rates from changes: rate exponents that give every layer a wanted change."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from ipcore.theory.calculus import Propagation
from ipcore.theory.errors import TheoryError
from ipcore.theory.exponents import power
from ipcore.theory.maxplus import Size, above, nonzero
from ipcore.theory.parameterization import Biases, Parameterization, RatePhase
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes
from ipcore.theory.units import FRACTIONS, Unit, unit_of

_ZERO: Final = Fraction(0)
_ONE: Final = Fraction(1)


def at_initialization(p: Parameterization, setting: Rules, unit: Unit = FRACTIONS) -> Propagation:
    """The calculus after the forward and the backward pass of step 0.

    Raises:
        TheoryError: Something grows with the width before any update.
    """
    run = Propagation(p, setting, unit=unit)
    sizes = run.forward(0)
    for i, h in enumerate(sizes.seen, start=len(sizes.h) - len(sizes.seen)):
        if above(h, _ZERO):
            raise TheoryError(
                f"no rates make it stable: {_name(i, run.L)} is of order {power(h)} at initialization; "
                f"raise a or b of layer {i + 1} or below",
                f"a[{i}]",
            )
    run.backward(0)
    return run


def solve(p: Parameterization, setting: Rules, changes: Sequence[Fraction]) -> tuple[Parameterization, Sizes]:
    """The rates with which the updates change h^l by m^{changes_l} and the output by order 1, at every step.

    Layer by layer at step 0, and again from step 1 on, when the first update has changed the sizes.

    Args:
        p: Multipliers and initial weights (and biases); its rates are not used.
        setting: Optimizer, activation, loss.
        changes: L exponents.

    Returns:
        The parameterization with its phases, and the sizes after the first update.

    Raises:
        TheoryError: Something grows at initialization, or an initial matrix passes on more of a change than
            the layer above is allowed.
    """
    run = at_initialization(p, setting, unit_of(p, setting, changes))
    start = map(nonzero, run.unit.exponents(run.h0[: run.L]))
    targets = (*changes, _ZERO)
    # Sizes after any completed step: the initial ones or the change, whichever is larger.
    x_next = [setting.activation.size(setting.seen(max(h, t))) for h, t in zip(start, changes, strict=True)]
    phases: list[RatePhase] = []
    bias_phases: list[RatePhase] = []
    first: Sizes | None = None
    for step in range(4 * (run.L + 2)):
        phase, bias_phase = _phase(run, step, targets, x_next)
        before = run.state()
        run.update(step, phase, bias_phase)
        sizes = run.forward(step + 1)
        _check(sizes, targets)
        run.backward(step + 1)
        first = first or sizes
        _append(phases, phase)
        if bias_phase is not None:
            _append(bias_phases, bias_phase)
        if run.state() == before:
            break
    biases = p.biases
    if biases is not None:
        biases = Biases(biases.a, biases.b, tuple(bias_phases))
    return Parameterization(p.a, p.b, tuple(phases), biases, p.mean), first or run.forward(0)


def unit_rates(run: Propagation) -> tuple[Fraction, ...]:
    """k_l: the next update of W^l, at rate m^{-c_l}, changes h^l by m^{k_l - c_l} times the size of x^{l-1}.

    Args:
        run: After `backward`.
    """
    found, gradients = [], _gradients(run)
    for i, a in enumerate(run.p.a):
        own = run.rules.entrywise
        entry = run.rules.entry(i, run.L) - a if own else nonzero(gradients[i]) - 2 * a
        found.append(entry + _aligned(run, i))
    return tuple(found)


def _gradients(run: Propagation) -> tuple[Size, ...]:
    return run.unit.exponents(map(run.largest_gradient, range(run.L + 1)))


def _aligned(run: Propagation, i: int) -> Fraction:
    """Exponent of the sum over the neurons below in an update: theta_l; 0 in the first layer."""
    if i == 0:
        return _ZERO
    given = run.rules.alignment
    return _ONE if given is None else given.forward[i - 1]


def unit_bias_rates(run: Propagation) -> tuple[Fraction, ...]:
    """As `unit_rates` for biases with exponents of their own; empty: there are none.

    Args:
        run: After `backward`.
    """
    if run.p.biases is None:
        return ()
    if run.rules.entrywise:
        return tuple(run.rules.bias_entry(i, run.L) - a for i, a in enumerate(run.p.biases.a))
    return tuple(nonzero(dh) - 2 * a for dh, a in zip(_derivatives(run), run.p.biases.a, strict=True))


def _phase(
    run: Propagation, step: int, targets: Sequence[Fraction], x_next: Sequence[Size]
) -> tuple[RatePhase, RatePhase | None]:
    p, adam = run.p, run.rules.optimizer == "adam"
    inputs = (_ZERO, *(nonzero(x) for x in x_next))
    c = tuple(unit + x - target for unit, x, target in zip(unit_rates(run), inputs, targets, strict=True))
    d = tuple(a - nonzero(gradient) for a, gradient in zip(p.a, _gradients(run), strict=True))
    phase = RatePhase(step, c, d if adam else None)
    if p.biases is None:
        return phase, None
    bias_c = tuple(unit - target for unit, target in zip(unit_bias_rates(run), targets, strict=True))
    bias_d = tuple(a - nonzero(dh) for a, dh in zip(p.biases.a, _derivatives(run), strict=True))
    return phase, RatePhase(step, bias_c, bias_d if adam else None)


def _derivatives(run: Propagation) -> tuple[Size, ...]:
    return run.unit.exponents(run.dh)


def _check(sizes: Sizes, targets: Sequence[Fraction]) -> None:
    for i, (change, target) in enumerate(zip(sizes.change, targets, strict=True)):
        if above(change, target):
            asked = sorted(set(targets[:-1]))
            order = "order 1" if asked == [0] else power(asked[0]) if len(asked) == 1 else "what is asked"
            raise TheoryError(
                f"no rates let every hidden layer change by {order} and the output by order 1: "
                f"the initial matrix of layer {i + 1} turns the change below into {power(change)} of "
                f"{_name(i, len(targets) - 1)}; a + b must be at least 1/2 there, or ask for the largest "
                "changes (kind 'largest'), which need not be the same in every layer",
                f"a[{i}]",
            )


def _append(phases: list[RatePhase], phase: RatePhase) -> None:
    if not phases or (phases[-1].c, phases[-1].d) != (phase.c, phase.d):
        phases.append(phase)


def _name(i: int, hidden_layers: int) -> str:
    return "the output" if i == hidden_layers else f"h^{i + 1}"
