"""Adam's epsilon at finite widths: the gradients that it is compared with, and the crossover width.

Adam divides by |g| + eps m^{-d}, g the gradient with respect to w (Kingma & Ba, arXiv:1412.6980; exponents
of epsilon: Yang & Littwin, arXiv:2308.01814). Where epsilon is negligible an update is a sign, whatever |g|;
where it dominates it is gradient descent with c - d. In the limit the exponents of both decide. At the widths
of an experiment the constants do: with eps = 1e-8 and |g| = 1e-3 m^{-1/2} epsilon takes over at m = 1e10
(ours). `analyze(..., epsilon=...)` has the exponents of either side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ipcore.theory.analysis import Analysis, check_analysis
from ipcore.theory.calculus import Propagation
from ipcore.theory.checks import check_integer
from ipcore.theory.errors import Findings, TheoryError, shown
from ipcore.theory.maxplus import Size, times
from ipcore.theory.quantities import number
from ipcore.theory.sums import Power, crossover

MAX_GRADIENT_STEPS: Final = 20


def gradient_exponents(analysis: Analysis, step: int) -> tuple[Size, ...]:
    """e(dL/dw^l) for l = 1..L+1 after some updates; None: exactly zero.

    Args:
        analysis: Result of `analyze`.
        step: Updates done before, 0..20.

    Raises:
        TheoryError: No analysis, or a step out of range.

    >>> from ipcore.theory import analyze, preset
    >>> sp = analyze(preset("sp", 2, optimizer="adam"), optimizer="adam")
    >>> [str(e) for e in gradient_exponents(sp, 0)]
    ['-1/2', '-1/2', '0']
    """
    p = check_analysis(analysis).parameterization
    check_integer(step, "step")
    if not 0 <= step <= MAX_GRADIENT_STEPS:
        raise TheoryError(f"must be an integer in 0..{MAX_GRADIENT_STEPS}, not {shown(step)}", "step")
    run = Propagation(p, analysis.setting)
    for done in range(step + 1):
        run.forward(done)
        run.backward(done)
        if done < step:
            run.update(done, p.phase_at(done), None if p.biases is None else p.biases.phase_at(done))
    return tuple(times(run.gradient(i), -a) for i, a in enumerate(p.a))


def epsilon_crossovers(
    analysis: Analysis, gradients: tuple[float | None, ...], width: int, epsilon: float, step: int = 0
) -> tuple[float | None, ...]:
    """Widths at which Adam's epsilon is as large as the mean gradient of each layer.

    Args:
        analysis: Analysis of the parameterization, with the epsilon that holds at the width measured.
        gradients: Mean |dL/dw^l| measured at a width, l = 1..L+1 (the probe `gradient`); None: not measured.
        width: That width.
        epsilon: eps of Adam; layer l has eps m^{-d_l}.
        step: Updates done before the gradients.

    Returns:
        One entry per layer; None where they never meet: exponents are the same (epsilon follows the
        gradient), a gradient or epsilon is 0, or the parameterization has no d.

    Raises:
        TheoryError: As `gradient_exponents`; another number of gradients than L+1; numbers that are not
            finite or below 0; a width of 0.

    >>> from ipcore.theory import analyze, preset
    >>> sp = analyze(preset("sp", 2, optimizer="adam"), optimizer="adam", epsilon="negligible")
    >>> [m and f"{m:.0e}" for m in epsilon_crossovers(sp, (1e-3, 1e-3, 1e-2), width=256, epsilon=1e-8)]
    ['3e+12', '3e+12', None]
    """
    exponents = gradient_exponents(analysis, step)
    needed = len(analysis.parameterization.a)
    if not isinstance(gradients, Sequence) or len(gradients) != needed:
        raise TheoryError(
            f"must be {needed} numbers, one for each weight matrix, not {shown(gradients)}", "gradients"
        )
    findings = Findings()
    for i, gradient in enumerate(gradients):
        with findings.noted():
            if gradient is not None:
                number(gradient, f"gradients[{i}]")
    with findings.noted():
        number(width, "width", positive=True)
    with findings.noted():
        number(epsilon, "epsilon")
    findings.check()
    d = analysis.parameterization.phase_at(step).d
    if d is None:
        return (None,) * len(gradients)
    found: list[float | None] = []
    for gradient, exponent, power in zip(gradients, exponents, d, strict=True):
        if gradient is None or exponent is None:
            found.append(None)
            continue
        found.append(crossover(Power(exponent, gradient, width), Power(-power, epsilon)))
    return tuple(found)
