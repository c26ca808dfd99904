"""The limit of a network by its exponents, or why none is computed here. Standard library only.

Everything follows from exponents that do not depend on the gauge: those of initial weights e_l = a_l + b_l
and those of rates of effective weights q_l(t) = c_l(t) + 2 a_l (`ipcore.models.scales`). docs/limits.md
derives the table:

    e                         rates                                    limit
    0, 1, .., 1               q_0 of ip-llr, then of ip                particles, phi 1-homogeneous
    0, 1/2, .., 1/2, 1        q = -1, 0, .., 0, 1, W_0 fades           particles, every phi (HP, HPZ)
    0, 1 (L = 1)              q = -1, 1                                particles: two-layer mean field
    0, 1/2, .., 1/2, 1/2 + r  q >= -2r, 1 - 2r, .., 1 - 2r, 1          kernel, 0 <= r < 1/2 (ntk, up)

A layer whose rate is smaller than the table's does not learn in the limit; a larger one makes it diverge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from ipcore.catalogue.activations import Activation, relu_power
from ipcore.limits.limit import DEFERRED, Limit, NoLimit
from ipcore.theory import Parameterization

_ZERO, _HALF, _ONE = Fraction(0), Fraction(1, 2), Fraction(1)


def by_exponents(
    p: Parameterization, phi: Activation, *, calibrated: bool, weight_decay: float
) -> Limit | NoLimit:
    """The limit that exponents and the activation have, under gradient descent with or without momentum."""
    L, e = p.hidden_layers, tuple(a + b for a, b in zip(p.a, p.b, strict=True))
    if e == _ladder(L, _ZERO, _ONE, _ONE) and not p.reweightings:
        return _vanishing(p, phi, calibrated=calibrated)
    if e == _ladder(L, _ZERO, _HALF, _ONE):
        return _with_notes(_hybrid(p), phi)
    rest = e[-1] - _HALF
    if e[:-1] == _ladder(L, _ZERO, _HALF, _HALF)[:-1] and 0 <= rest < _HALF and not p.reweightings:
        return _kernel(p, rest, calibrated=calibrated, weight_decay=weight_decay)
    text = f"no algorithm for the limit of these exponents is known here: {DEFERRED}"
    return NoLimit("unknown", text, wider=True)


def _ladder(hidden_layers: int, first: Fraction, hidden: Fraction, last: Fraction) -> tuple[Fraction, ...]:
    return (first, *[hidden] * (hidden_layers - 1), last)


def _rates(p: Parameterization, step: int) -> tuple[Fraction, ...]:
    """q_l: exponents of the rates of effective weights."""
    return tuple(c + 2 * a for c, a in zip(p.c_at(step), p.a, strict=True))


def _learns(
    p: Parameterization, first: Sequence[Fraction], later: Sequence[Fraction]
) -> tuple[tuple[bool, ...], tuple[bool, ...], tuple[bool, ...]] | NoLimit:
    """Layers that learn at step 0, that learn later, and that carry step 0 on, at the largest rates.

    The largest rate is the inverse of the gradient's size, so equal ones mean gradients of equal size.
    """
    starts = sorted({0, 1, *(phase.start for phase in p.phases)})
    found = []
    for start in starts:
        most = first if start == 0 else later
        rates = _rates(p, start)
        if large := [i for i, (q, least) in enumerate(zip(rates, most, strict=True), start=1) if q < least]:
            layers = "layer" if len(large) == 1 else "layers"
            named = ", ".join(map(str, large))
            return NoLimit(
                "unstable",
                f"the rate of {layers} {named} at step {start} is a power of the width too large: the "
                "network diverges as it grows; `iplab analyze` says what would be stable",
            )
        found.append(tuple(q == least for q, least in zip(rates, most, strict=True)))
    if len(set(found[1:])) > 1:
        return NoLimit(
            "unknown",
            f"rates whose powers of the width change after step 1 have no algorithm here: {DEFERRED}",
            wider=True,
        )
    return found[0], found[1], tuple(one == other for one, other in zip(first, later, strict=True))


def _vanishing(p: Parameterization, phi: Activation, *, calibrated: bool) -> Limit | NoLimit:
    """The integrable parameterizations, whose hidden layers vanish at the start."""
    found, local = _integrable(p), phi.behaviour
    if isinstance(found, NoLimit) or p.hidden_layers == 1:
        return found
    homogeneous = local is not None and local.degree == 1 and (local.kind == "aligned" or not local.nonlinear)
    if not homogeneous:
        return NoLimit(
            "activation",
            "these rates have a limit for 1-homogeneous activations alone (relu, leaky_relu, abs), not for "
            f"{phi.name}: hidden layers vanish at the start, so phi acts near 0, and the first step vanishes "
            "with the width or grows; hpz has the limit that is meant, for every activation",
        )
    if calibrated and (_odd(phi) or not all(found.first)):
        return NoLimit(
            "calibration",
            "calibrated first rates grow like a power of the width here, so there is no limit: leave the "
            "calibration out, or use hp or hpz",
        )
    return _with_notes(found, phi)


def _integrable(p: Parameterization) -> Limit | NoLimit:
    L = p.hidden_layers
    outer = -Fraction(L + 1, 2)
    first = _ladder(L, outer, 2 - Fraction(L + 2, 2), 2 + outer)
    later = _ladder(L, -_ONE, _ZERO, _ONE)
    learns = _learns(p, first, later)
    if isinstance(learns, NoLimit):
        return learns
    if L == 1:
        return Limit("particles", *learns, False, False, True, "the two-layer mean-field limit")
    if not any(learns[0]):
        return NoLimit(
            "constant",
            f"with these rates and {L} hidden layers the network is constant: f stays 0, "
            "since all updates vanish with the width; ip-llr's large first rates avoid this",
        )
    if not all(learns[0][1:-1]):
        return NoLimit(
            "unknown",
            "some hidden layers learn nothing at step 0, which no algorithm here covers: use ip-llr",
        )
    return Limit("particles", *learns, False, True, True, "the limit of IP-LLR: HP's, with h_0 = 0")


def _hybrid(p: Parameterization) -> Limit | NoLimit:
    L = p.hidden_layers
    rates = _ladder(L, -_ONE, _ZERO, _ONE)
    learns = _learns(p, rates, rates)
    if isinstance(learns, NoLimit):
        return learns
    if L == 1:
        if p.reweightings:
            return NoLimit("unknown", "re-weighted matrices of two-layer networks have no algorithm here")
        return Limit("particles", *learns, False, False, True, "the two-layer mean-field limit")
    if not p.reweightings:
        return NoLimit(
            "initial_weights",
            f"muP keeps its initial hidden matrices, and with {L} hidden layers no algorithm for its limit "
            f"is practical: {DEFERRED}; hpz removes them, and has a limit",
            wider=True,
        )
    (faded, *more) = p.reweightings
    inner = all(k is None or k > 0 for k in faded.k[1:-1])
    if more or faded.start != 1 or not inner or any(faded.k[i] != _ZERO for i in (0, -1)):
        return NoLimit(
            "unknown",
            "a limit is known where all initial hidden matrices, and no others, fade at step 1 (hp, hpz): "
            + DEFERRED,
            wider=True,
        )
    removed = faded.k[-2] is None
    sentence = "the limit of muP whose initial hidden matrices " + (
        "are removed after the first step" if removed else "fade after the first step"
    )
    return Limit("particles", *learns, True, not removed, True, sentence)


def _with_notes(found: Limit | NoLimit, phi: Activation) -> Limit | NoLimit:
    """The limit with what depends on the activation."""
    if isinstance(found, NoLimit):
        return found
    notes, revives = list[str](), found.revives and (phi.name == "relu" or relu_power(phi.name) == 1)
    if _odd(phi) and len(found.first) > 3:
        notes.append(
            f"step 0 does not reach layer 3: {phi.name} is odd, so E[x_0^2 x_1^2] = 0, h_1^3 = 0 and "
            "f_1 = 0; learning starts at step 2, and finite networks show their m^(-1/2) remainder there"
        )
    if revives:
        notes.append(
            "dead neurons revive: those of the last hidden layer that are off on all of batch 0 turn on by "
            "what is left of the initial matrix; in HPZ they do not"
        )
    return replace(found, revives=revives, notes=tuple(notes))


def _odd(phi: Activation) -> bool:
    # Of sin, which theory does not cover, it is known here.
    return phi.name == "sin" if phi.behaviour is None else phi.behaviour.odd


def _kernel(p: Parameterization, rest: Fraction, *, calibrated: bool, weight_decay: float) -> Limit | NoLimit:
    L = p.hidden_layers
    most = _ladder(L, -2 * rest, 1 - 2 * rest, _ONE)
    learns = _learns(p, most, most)
    if isinstance(learns, NoLimit):
        return learns
    if learns[0] != learns[1]:
        return NoLimit("unknown", "layers that begin or cease to learn after step 0 have no fixed kernel")
    if not any(learns[0]):
        return NoLimit(
            "constant", "all updates vanish with the width: the network stays what it was; raise the rates"
        )
    if calibrated:
        return NoLimit(
            "calibration",
            "calibrated first rates grow with the width in the kernel regime, so there is no limit: leave "
            "the calibration out",
        )
    if weight_decay:
        return NoLimit("decay", "with weight decay the kernel is not fixed: use a decay of 0")
    sentence = "the neural tangent kernel's limit: features do not move, f is a kernel machine"
    if learns[0] == (*[False] * L, True):
        sentence = "the limit of a trained readout: f is a kernel machine of the network's Gaussian process"
    return Limit("kernel", *learns, True, False, rest > 0, sentence)
