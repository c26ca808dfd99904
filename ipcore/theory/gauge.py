"""Gauge algebra: different exponents, the same network at every step.

For any t_l, SGD is unchanged under (a, b, c)_l -> (a + t, b - t, c - 2t), Adam and sign updates under
(a + t, b - t, c - t), with epsilon's exponent d -> d + t. (Yang & Hu, arXiv:2011.14522, for SGD; Yang &
Littwin, arXiv:2308.01814, and Everett et al., arXiv:2407.05872, for Adam.) Two descriptions that differ by a
gauge are the same parameterization; global clipping and coupled weight decay are not gauge invariant.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ipcore.catalogue import KNOWN_OPTIMIZERS
from ipcore.theory.checks import expand_layers
from ipcore.theory.errors import TheoryError
from ipcore.theory.parameterization import (
    Biases,
    Exponents,
    Parameterization,
    RatePhase,
    check_parameterization,
)
from ipcore.theory.rules import rule_of


def shift(
    parameterization: Parameterization,
    by: Sequence[str | Fraction | int],
    *,
    optimizer: str = "sgd",
    bias_by: Sequence[str | Fraction | int] = (),
) -> Parameterization:
    """The same parameterization in another gauge.

    A first-layer bias without exponents of its own moves with its layer. Biases with their own exponents have
    their own gauge: they stay as they are unless `bias_by` moves them.

    Args:
        parameterization: What to describe differently.
        by: t_l, L+1 entries or three (first, hidden, last); a_l grows by t_l.
        optimizer: Key of `OPTIMIZERS`; its rule for c.
        bias_by: Shifts of the biases, likewise; empty: none.

    Raises:
        TheoryError: No parameterization, a wrong length, an unknown optimizer, or `bias_by` without biases of
            their own.

    >>> from ipcore.theory.presets import preset
    >>> shift(preset("mup", 3), ["-1/2", "-1/2", "-1/2"]) == preset("mup-yang-hu", 3)
    True
    """
    check_parameterization(parameterization)
    factor = rate_factor(optimizer)
    p, L = parameterization, parameterization.hidden_layers
    t = expand_layers(by, L, "by")
    a, b, phases = _shifted(p.a, p.b, p.phases, t, factor)
    mean = None
    if p.mean is not None:
        mean = tuple(None if m is None else m - t[i] for i, m in enumerate(p.mean))
    biases = p.biases
    if bias_by:
        if biases is None:
            raise TheoryError(
                "there are no biases with exponents of their own: a first-layer bias shares those of its "
                "layer and moves with it; shifting it alone would change the network",
                "bias_by",
            )
        own = expand_layers(bias_by, L, "bias_by")
        biases = Biases(*_shifted(biases.a, biases.b, biases.phases, own, factor))
    return Parameterization(a, b, phases, biases, mean, p.reweightings)


def canonical(parameterization: Parameterization, optimizer: str = "sgd") -> Parameterization:
    """The gauge b = 0 (weights of order 1), phases without repetition; equal for equal networks.

    Raises:
        TheoryError: No parameterization, or an unknown optimizer.

    >>> from ipcore.theory.presets import preset
    >>> canonical(preset("mup-yang-hu", 2)) == preset("mup", 2)
    True
    """
    p = check_parameterization(parameterization)
    bias_by = () if p.biases is None else p.biases.b
    moved = shift(p, p.b, optimizer=optimizer, bias_by=bias_by)
    epsilon = KNOWN_OPTIMIZERS[rule_of(optimizer)].has_epsilon
    biases = moved.biases
    if biases is not None:
        biases = Biases(biases.a, biases.b, _merged(biases.phases, epsilon))
    mean = moved.mean if moved.mean is not None and any(m is not None for m in moved.mean) else None
    reweightings = tuple(
        r
        for i, r in enumerate(moved.reweightings)
        if r.k != (moved.reweightings[i - 1].k if i else (Fraction(0),) * len(moved.a))
    )
    return Parameterization(moved.a, moved.b, _merged(moved.phases, epsilon), biases, mean, reweightings)


def equivalent(left: Parameterization, right: Parameterization, optimizer: str = "sgd") -> bool:
    """Whether two descriptions are the same network at every step, up to constants without m.

    Raises:
        TheoryError: No parameterization, or an unknown optimizer.

    >>> from ipcore.theory.presets import preset
    >>> equivalent(preset("mup", 1), preset("ip", 1)), equivalent(preset("mup", 2), preset("ip", 2))
    (True, False)
    """
    return canonical(left, optimizer) == canonical(right, optimizer)


def gauge_of(
    parameterization: Parameterization, a: Sequence[str | Fraction | int], *, optimizer: str = "sgd"
) -> Parameterization:
    """The same parameterization with given multipliers, for instance those of another paper's convention.

    Args:
        parameterization: What to describe differently.
        a: Wanted multipliers, L+1 entries or three.
        optimizer: Key of `OPTIMIZERS`.

    Raises:
        TheoryError: No parameterization, a wrong length or an unknown optimizer.

    >>> from ipcore.theory.presets import preset
    >>> [str(c) for c in gauge_of(preset("ntk", 2), ["0", "0", "0"]).c_at(0)]
    ['0', '1', '1']
    """
    check_parameterization(parameterization)
    wanted = expand_layers(a, parameterization.hidden_layers, "a")
    by = [new - old for new, old in zip(wanted, parameterization.a, strict=True)]
    return shift(parameterization, by, optimizer=optimizer)


def rate_factor(optimizer: str) -> int:
    """Coefficient of the multiplier a beside c in the rate of effective weights."""
    return 1 if KNOWN_OPTIMIZERS[rule_of(optimizer)].entrywise else 2


def _shifted(
    a: Exponents, b: Exponents, phases: tuple[RatePhase, ...], t: Exponents, factor: int
) -> tuple[Exponents, Exponents, tuple[RatePhase, ...]]:
    moved = tuple(
        RatePhase(
            phase.start,
            tuple(c - factor * s for c, s in zip(phase.c, t, strict=True)),
            None if phase.d is None else tuple(d + s for d, s in zip(phase.d, t, strict=True)),
        )
        for phase in phases
    )
    return (
        tuple(x + s for x, s in zip(a, t, strict=True)),
        tuple(x - s for x, s in zip(b, t, strict=True)),
        moved,
    )


def _merged(phases: tuple[RatePhase, ...], epsilon: bool) -> tuple[RatePhase, ...]:
    """Phases without exponents that the optimizer does not use, and without repetition."""
    kept: list[RatePhase] = []
    for phase in phases:
        d = phase.d if epsilon else None
        if not kept or (kept[-1].c, kept[-1].d) != (phase.c, d):
            kept.append(RatePhase(phase.start, phase.c, d))
    return tuple(kept)
