"""The exponents of alignment that the calculus derives, step by step: what measured ones are held against."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction
from typing import Final

from ipcore.theory.analysis import Analysis
from ipcore.theory.calculus import Propagation
from ipcore.theory.maxplus import Size
from ipcore.theory.trajectory import is_growing

_ONE: Final = Fraction(1)
Bounds = tuple[Fraction, Fraction]


def derived_alignment(analysis: Analysis, steps: Collection[int]) -> dict[int, tuple[Bounds | None, ...]]:
    """theta_l of W^2..W^{L+1} as a lower and an upper bound, by step.

    Updates are aligned, theta = 1, unless activations are linear at 0 and vanish, or means cancel: then the
    first update of gradient descent is known (the recursion of `ipcore.theory.alignment`), later ones and
    signs are bounded.

    Args:
        analysis: Its alignment is derived anew where another one was given.
        steps: Updates done.

    Returns:
        For each step >= 1 an entry per matrix; None: no update, or nothing it acts on. No entry for steps
        from which on something grows with the width: sizes are bounds only there.

    >>> from ipcore.theory import analyze, preset
    >>> found = derived_alignment(analyze(preset("ip-llr", 3), activation="tanh"), [1])
    >>> [str(low) for low, _ in found[1]]
    ['1', '1/2', '1/2']
    """
    p, setting = analysis.parameterization, replace(analysis.setting, alignment=None)
    doubtful = setting.activation.kind != "aligned" or (p.mean is not None and setting.cancels)
    run = Propagation(p, setting, aligned=not doubtful)
    found: dict[int, tuple[Bounds | None, ...]] = {}
    enough = max((0, *p.changes)) + 4 * (p.hidden_layers + 2)
    last = max((step for step in steps if step > 0), default=0)
    now: tuple[Bounds | None, ...] = ()
    grows = is_growing(run.forward(0))
    for step in range(1, min(last, enough) + 1):
        run.backward(step - 1)
        before = run.state()
        bias_phase = None if p.biases is None else p.biases.phase_at(step - 1)
        run.update(step - 1, p.phase_at(step - 1), bias_phase)
        sizes = run.forward(step)
        grows = grows or is_growing(sizes)
        if grows:
            break
        known = not doubtful or (step == 1 and not setting.entrywise)
        entries = run.entries()
        now = tuple(
            _bounds(sizes.from_update[i], entries[i], run.x[i - 1], known=known)
            for i in range(1, p.hidden_layers + 1)
        )
        if step in steps:
            found[step] = now
        if step > max((0, *p.changes)) and run.state() == before:
            break
    if not grows:  # exponents have repeated, or are taken to go on
        found |= {step: now for step in steps if step > 0 and step not in found}
    return found


def _bounds(update: Size, entries: Size, x: Size, *, known: bool) -> Bounds | None:
    if update is None or entries is None or x is None:
        return None
    low = update - entries - x
    return low, low if known else _ONE
