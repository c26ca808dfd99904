"""Isolated updates: changes by one update of one layer alone, from the weights of step 0.

Let e(dh^l) and e(x^l) be the exponents at step 0 of the derivative of the loss by h^l and of the activations.
One update of W^l by the rate of step t changes its entries by m^u, with (docs/theory.md, section 2)

    u = -c_l(t) - 2 a_l + e(dh^l) + e(x^{l-1})    gradient descent
    u = -c_l(t) - a_l                             signs (Adam with a negligible epsilon)

or the exponent of an orthogonalized update. The gradient is a sum over examples of dh^l (x_0^{l-1})^T, and
inputs of different examples are aligned with each other at initialization, so

    e(change of h^l) = u + [l > 1] (1 + e(x^{l-1})),     by its bias alone u with the bias's exponents.

Where alignment is given, theta_l takes the place of the 1. That is a single term, which no other term hides
(ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ipcore.theory.analysis import Analysis, check_analysis
from ipcore.theory.calculus import Propagation
from ipcore.theory.checks import check_integer
from ipcore.theory.errors import TheoryError, shown
from ipcore.theory.maxplus import Size, above, times

_ONE: Final = Fraction(1)


@dataclass(frozen=True, slots=True)
class IsolatedChanges:
    """Changes of h^1..h^L and, last, of f by one update of their own layer, as exponents of m.

    Attributes:
        by_matrix: L+1 exponents; None: exactly zero.
        by_bias: Likewise by the layer's bias: L+1 exponents if biases have exponents of their own, else only
            that of the first layer.
        exact: False: upper bounds, since the loss derivative of an output that grows is only bounded.
    """

    by_matrix: tuple[Size, ...]
    by_bias: tuple[Size, ...]
    exact: bool


def isolated_changes(analysis: Analysis, step: int) -> IsolatedChanges:
    """Changes by each layer's own update if it is the only one, from the weights of step 0.

    Args:
        analysis: Analysis of the parameterization, with its optimizer, activation and loss.
        step: Updates done before the one whose rates are used, >= 0.

    Raises:
        TheoryError: No analysis, or a step below 0.

    >>> from ipcore.theory import analyze, preset
    >>> llr = analyze(preset("ip-llr", 2), activation="tanh")
    >>> [[str(e) for e in isolated_changes(llr, step).by_matrix] for step in (0, 1)]
    [['0', '0', '-1/2'], ['-1/2', '0', '-1']]
    """
    p, rules = check_analysis(analysis).parameterization, analysis.setting
    check_integer(step, "step")
    if step < 0:
        raise TheoryError(f"must be at least 0, not {shown(step)}", "step")
    run = Propagation(p, rules)
    start = run.forward(0)
    x = tuple(run.x)
    run.backward(0)
    run.update(0, p.phase_at(step), None if p.biases is None else p.biases.phase_at(step))
    entries = run.entries()
    forward = (_ONE,) * p.hidden_layers if rules.alignment is None else rules.alignment.forward
    by_matrix = (entries[0], *map(times, entries[1:], forward, x))
    # A forward pass gives the updates of biases; those without exponents have their layer's.
    by_bias = (by_matrix[0],) if p.biases is None else run.forward(1).from_bias
    return IsolatedChanges(by_matrix, by_bias, exact=not above(start.h[-1], Fraction(0)))
