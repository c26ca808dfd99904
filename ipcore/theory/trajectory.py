"""Iterate the calculus until the exponents repeat, or until their further course is known.

Work is bounded: `MAX_WORK` layers times steps unless more are requested, and a few steps after a hidden
preactivation has grown, since exponents may double in every step from there on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction
from typing import Final

from ipcore.theory.calculus import Propagation
from ipcore.theory.exponents import length
from ipcore.theory.forever import Future, future
from ipcore.theory.given_alignment import Alignment
from ipcore.theory.maxplus import Size, grows, times
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes
from ipcore.theory.units import unit_of

_ONE: Final = Fraction(1)


MAX_WORK: Final = 10_000
GROWN_STEPS: Final = 8
GAINED_BITS: Final = 2_000
_PERIOD: Final = 3  # updates after which the factors of degree 1 repeat, if they do


class End(Enum):
    """Why a trajectory ends where it does."""

    REPEATS = auto()
    """The exponents stay the same after the last step."""
    GROWS = auto()
    """A hidden preactivation grows with the width."""
    UNBOUNDED = auto()
    """Nothing hidden has grown yet, but it will."""
    APPROACHES = auto()
    """Later sizes lie between those of the last step and the limit."""
    OPEN = auto()
    """Not known."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Sizes of all steps that were looked at.

    Attributes:
        steps: Ascending from step 0. Steps left out have the sizes of the step before.
        end: What comes after the last step.
        future: What was decided without iterating.
        signs: Whether some update is sign-like or orthogonalized.
        products: e(x_0^l . x_1^l) for l = 1..L, as a lower bound of alignment gives it.
        activations: e(x_0^l) and e(x_1^l) for l = 1..L.
        given: Alignment that was given; None: it was derived.
    """

    steps: tuple[Sizes, ...]
    end: End
    future: Future
    signs: bool
    products: tuple[Size, ...]
    activations: tuple[tuple[Size, Size], ...]
    given: Alignment | None = None

    def at(self, step: int) -> Sizes:
        """Sizes after `step` updates."""
        return self.steps[bisect_right(self.steps, step, key=lambda sizes: sizes.step) - 1]

    @property
    def updated(self) -> tuple[Sizes, ...]:
        """Sizes of all steps from 1 on; last, where they are not reached, those that they approach."""
        limit = self.future.limit
        return (*self.steps[1:], limit) if self.end is End.APPROACHES and limit else self.steps[1:]


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
    if run.given is not None:
        return tuple(
            LayerAlignment(layer, 1 - theta) for layer, theta in enumerate(run.given.forward, start=2)
        )
    found = []
    for i, (product, (x0, x1)) in enumerate(zip(run.products, run.activations, strict=True)):
        aligned = times(_ONE, x0, x1)
        if product is not None and aligned is not None:
            found.append(LayerAlignment(i + 2, aligned - product))
    return tuple(found)


def trajectory(
    p: Parameterization,
    rules: Rules,
    *,
    aligned: bool,
    steps: int | None,
    enough: Callable[[Sizes], bool] | None = None,
) -> Trajectory:
    """Run the calculus.

    Args:
        p: The parameterization.
        rules: Optimizer, activation, loss.
        aligned: See `Propagation`.
        steps: Updates that are wanted at least, >= 1; after something hidden has grown at most `GROWN_STEPS`
            more are given. It continues until the exponents repeat, something hidden grows, or 4(L+2) steps
            after the last change of the rates, with at most `MAX_WORK` hidden layers times steps. It ends
            earlier if exponents have become longer by `GAINED_BITS` (degrees that are not integers). Their
            course in the last phase is decided by `ipcore.theory.forever` if that covers the case.
        enough: Called with the sizes of every step from 1 on, in order; once it is true no more are needed.
            With it the run ends, too, when it is known that sizes grow without bound.
    """
    run = Propagation(p, rules, aligned=aligned, unit=unit_of(p, rules))
    records = [run.forward(0)]
    run.backward(0)
    x0 = tuple(run.x)
    products: tuple[Size, ...] = ()
    activations: tuple[tuple[Size, Size], ...] = ()
    last_phase = max((0, *p.changes))
    rounds = min(4 * (p.hidden_layers + 2) * (len(p.changes) + 1), MAX_WORK // (p.hidden_layers + 1))
    wanted, step, ahead = steps or 1, 0, Future(None)
    repeats, grown, allowed = False, _is_final(records[-1], rules), 0
    stop = min(wanted, GROWN_STEPS) if grown and steps else 0
    for done in range(max(rounds, wanted)):
        # A lower bound may come to where random sums alone feed themselves at any later step.
        if not grown and (
            step == last_phase or (step > last_phase and not aligned and ahead.bounded is None)
        ):
            ahead = future(run, step)
        if ahead.bounded is False and not grown:
            if enough is not None:
                break
            rounds = min(rounds, done + _PERIOD)
        if step >= stop if grown else done >= rounds and step >= wanted:
            break
        before = run.state()
        bias_phase = None if p.biases is None else p.biases.phase_at(step)
        run.update(step, p.phase_at(step), bias_phase)
        step += 1
        sizes = run.forward(step)
        length = _bits(sizes)
        allowed = allowed or length + GAINED_BITS
        if length > allowed:
            break
        records.append(sizes)
        run.backward(step)
        if step == 1:
            seen = run.unit.exponents
            products, activations = seen(run.products), tuple(zip(seen(x0), seen(run.x), strict=True))
        if not grown and _is_final(records[-1], rules):
            grown, stop = True, min(wanted, step + GROWN_STEPS) if steps else step
        if enough is not None and enough(sizes):
            break
        if run.state() == before:
            # Nothing moves before the rates change again: continue with the update just before that.
            upcoming = [change for change in p.changes if change >= step]
            if not upcoming:
                repeats = True
                break
            step = max(step, upcoming[0] - 1)
    signs = run.signs or ahead.signs
    end = _end(repeats, grown, ahead)
    return Trajectory(tuple(records), end, ahead, signs, products, activations, rules.alignment)


def _end(repeats: bool, grown: bool, ahead: Future) -> End:
    if grown:
        return End.GROWS
    if repeats:
        return End.REPEATS
    if ahead.bounded is None:
        return End.OPEN
    return End.APPROACHES if ahead.bounded else End.UNBOUNDED


def _bits(sizes: Sizes) -> int:
    """Number of bits of the longest exponent."""
    known = [e for e in (*sizes.h, *sizes.change) if e is not None]
    return max(length(e) for e in known)


def _is_final(sizes: Sizes, rules: Rules) -> bool:
    """Whether something has grown that decides: a hidden layer; the output, if squared errors feed it back.

    Without normalization that output makes hidden layers grow, or `forever` says that they stay bounded.
    """
    return is_catastrophic(sizes) or (sizes.normalized and rules.loss == "mse" and is_growing(sizes))


def is_catastrophic(sizes: Sizes) -> bool:
    """Whether a hidden preactivation that layers above see grows with the width."""
    return any(map(grows, sizes.seen[:-1]))


def is_growing(sizes: Sizes) -> bool:
    """Whether a preactivation that layers above see, or the output, grows with the width."""
    return any(map(grows, sizes.seen))
