"""The exponents of alignment that the calculus derives, step by step, for comparison with measured ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from ipcore.theory.analysis import Analysis
from ipcore.theory.bounds import doubtful
from ipcore.theory.calculus import Propagation
from ipcore.theory.maxplus import Size
from ipcore.theory.trajectory import is_growing

_HALF: Final = Fraction(1, 2)
_ONE: Final = Fraction(1)
Bounds = tuple[Fraction, Fraction]
"""A lower and an upper bound of an exponent; the same where it is known."""


@dataclass(frozen=True, slots=True)
class Derived:
    """Exponents of alignment after some updates, as in `ipcore.theory.given_alignment`.

    Attributes:
        forward: theta_l of W^2..W^{L+1}; None: no update, or its input is zero.
        backward: theta'_l of W^2..W^L, likewise.
        initial: omega_l of W^2..W^{L+1}; None: its input has not changed.
    """

    forward: tuple[Bounds | None, ...] = ()
    backward: tuple[Bounds | None, ...] = ()
    initial: tuple[Bounds | None, ...] = ()


def derived_alignment(analysis: Analysis, steps: Collection[int]) -> dict[int, Derived]:
    """All exponents of alignment as lower and upper bounds, by step (ours).

    Updates are aligned, theta = theta' = 1, unless activations are linear at 0 and vanish, or means cancel:
    then the first update of gradient descent is known (the recursion of `ipcore.theory.alignment`), later
    ones and signs are bounded. W_0 acts on changes as on anything, omega = 1/2 (1 with a mean); the readout
    is aligned with the first update of the layer below, which it caused; later updates also follow its own
    updates, so that there is only a bound.

    Args:
        analysis: Its alignment is derived anew where another one was given.
        steps: Numbers of updates done, each at least 1.

    Returns:
        An entry for every step, but none from the first step on at which something grows with the width:
        sizes are only bounds there.

    >>> from ipcore.theory import analyze, preset
    >>> found = derived_alignment(analyze(preset("ip-llr", 3), activation="tanh"), [1])
    >>> [str(low) for low, _ in found[1].forward]
    ['1', '1/2', '1/2']
    """
    p, setting = analysis.parameterization, replace(analysis.setting, alignment=None)
    in_doubt = doubtful(p, setting)
    run = Propagation(p, setting, aligned=not in_doubt)
    found: dict[int, Derived] = {}
    enough = max((0, *p.changes)) + 4 * (p.hidden_layers + 2)
    last = max((step for step in steps if step > 0), default=0)
    now = Derived()
    grows = is_growing(run.forward(0))
    run.backward(0)
    for step in range(1, min(last, enough) + 1):
        before = run.state()
        bias_phase = None if p.biases is None else p.biases.phase_at(step - 1)
        run.update(step - 1, p.phase_at(step - 1), bias_phase)
        sizes = run.forward(step)
        grows = grows or is_growing(sizes)
        if grows:
            break
        run.backward(step)
        known = not in_doubt or (step == 1 and not setting.entrywise)
        entries, L = run.entries(), p.hidden_layers
        now = Derived(
            tuple(
                _bounds(sizes.from_update[i], entries[i], run.x[i - 1], known=known) for i in range(1, L + 1)
            ),
            tuple(_bounds(run.dx_update[i], entries[i], run.dh[i], known=known) for i in range(1, L)),
            tuple(
                None if sizes.from_below[i] is None else _of_initial(run, i, first=step == 1)
                for i in range(1, L + 1)
            ),
        )
        if step in steps:
            found[step] = now
        if step > max((0, *p.changes)) and run.state() == before:
            break
    if not grows:  # exponents have repeated, or are assumed to continue
        found |= {step: now for step in steps if step > 0 and step not in found}
    return found


def _of_initial(run: Propagation, i: int, *, first: bool) -> Bounds:
    exponent = run.passed_on(i) - run.initial[i]
    known = first or run.p.mean is not None or i < run.p.hidden_layers
    return (exponent, exponent) if known else (_HALF, exponent)


def _bounds(added: Size, entries: Size, acted_on: Size, *, known: bool) -> Bounds | None:
    if added is None or entries is None or acted_on is None:
        return None
    low = added - entries - acted_on
    return low, low if known else _ONE
