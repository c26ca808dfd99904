"""Iterate the calculus until the exponents repeat."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.calculus import Propagation, Sizes
from ipcore.theory.maxplus import Size, above, times
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rules import Rules

_ZERO: Final = Fraction(0)
_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Sizes of all steps that were looked at.

    Attributes:
        steps: Ascending from step 0. Steps left out have the sizes of the step before.
        settled: The exponents stay the same for ever after the last step.
        products: e(x_0^l . x_1^l) for l = 1..L, as a lower bound of alignment gives it.
        activations: e(x_0^l) and e(x_1^l) for l = 1..L.
    """

    steps: tuple[Sizes, ...]
    settled: bool
    products: tuple[Size, ...]
    activations: tuple[tuple[Size, Size], ...]

    def at(self, step: int) -> Sizes:
        """Sizes after `step` updates."""
        return next(sizes for sizes in reversed(self.steps) if sizes.step <= step)


@dataclass(frozen=True, slots=True)
class LayerAlignment:
    """Whether the first update of matrix W^l is aligned with its input at step 1.

    Attributes:
        layer: l, 2..L+1.
        deficit: x_0^{l-1} . x_1^{l-1} is smaller than m |x_0| |x_1| by m^{-deficit}; 0: aligned. It is also
            what the calibrated first rate of W^l grows by.
    """

    layer: int
    deficit: Fraction

    @property
    def aligned(self) -> bool:
        """Whether the law of large numbers holds."""
        return self.deficit == 0


def layer_alignment(run: Trajectory) -> tuple[LayerAlignment, ...]:
    """Alignment of the matrices W^2..W^{L+1} at step 1, from the aligned run (what calibration measures)."""
    found = []
    for i, (product, (x0, x1)) in enumerate(zip(run.products, run.activations, strict=True)):
        aligned = times(_ONE, x0, x1)
        if product is not None and aligned is not None:
            found.append(LayerAlignment(i + 2, aligned - product))
    return tuple(found)


def trajectory(p: Parameterization, rules: Rules, *, aligned: bool, steps: int | None) -> Trajectory:
    """Run the calculus.

    Args:
        p: The parameterization.
        rules: Optimizer, activation, loss.
        aligned: See `Propagation`.
        steps: Updates that are wanted at least, >= 1, even if something is unstable. It goes on until the
            exponents repeat, something is unstable, or 4(L+2) steps after the last change of the rates.
    """
    run = Propagation(p, rules, aligned=aligned)
    records = [run.forward(0)]
    run.backward(0)
    x0 = tuple(run.x)
    products: tuple[Size, ...] = ()
    activations: tuple[tuple[Size, Size], ...] = ()
    wanted = steps or 1
    rounds = max(wanted, 4 * (p.hidden_layers + 2) * (len(p.changes) + 1))
    step, settled = 0, False
    for _ in range(rounds):
        if (steps is None or step >= wanted) and is_unstable(records[-1]):
            break
        before = run.state()
        bias_phase = None if p.biases is None else p.biases.phase_at(step)
        run.update(step, p.phase_at(step), bias_phase)
        step += 1
        records.append(run.forward(step))
        run.backward(step)
        if step == 1:
            products, activations = tuple(run.products), tuple(zip(x0, run.x, strict=True))
        if run.state() == before:
            # Nothing moves before the rates change again: go on with the update just before that.
            upcoming = [change for change in p.changes if change >= step]
            if not upcoming:
                settled = True
                break
            step = max(step, upcoming[0] - 1)
    return Trajectory(tuple(records), settled or is_unstable(records[-1]), products, activations)


def is_unstable(sizes: Sizes) -> bool:
    """Whether a preactivation or the output grows with the width."""
    return any(above(h, _ZERO) for h in sizes.h)
