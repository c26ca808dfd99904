"""Whether anything grows when all rates are m^delta times as large, and by how much: a number to search with.

Put c - delta in the place of c, in all layers and phases (biases too). Updates never make sizes smaller, so
the network stays bounded iff it does after the last phase of rates has run for ever:

- centred weights that stay, no biases of their own (`ipcore.theory.factors`): sizes of the fixed point, or
  there is none. For gradient descent there is none iff the least value of G, whose root the total is, is
  above 0; at degree 1 that is half the largest rho_j + rho_k, of two layers that feed each other;
- otherwise (own biases, means, re-weighted matrices, residual blocks, alignment that is given), and for the
  run of lower bounds on alignment: the calculus is iterated until its exponents repeat, or something grows.

As functions of delta that value and all sizes after gradient or sign updates are convex and piecewise linear
(the former from the last phase on at degrees above 1). [ours, docs/theory.md, section 4]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final

from ipcore.theory import factors, initial
from ipcore.theory.calculus import Propagation
from ipcore.theory.maxplus import Size, above, largest, nonzero, times
from ipcore.theory.parameterization import Parameterization, RatePhase
from ipcore.theory.rate_solver import unit_rates
from ipcore.theory.rules import Rules

_ZERO: Final = Fraction(0)
_HALF: Final = Fraction(1, 2)
LEAST: Final = "least"
FIXED: Final = "fixed"
MAX_WORK: Final = 4_000  # hidden layers times steps of one iteration
_MIN_ROUNDS: Final = 64
_SOON: Final = 16  # updates after which what grows by rates that are too large has grown
Quantity = str | int
"""What a number is: the least value of G, the largest size at the fixed point, or that after a step."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What grows.

    Attributes:
        value: Of the quantity, as an exponent: it grows with the width iff this is above 0. None: it grows
            without a number for it.
        quantity: Which one; a number can be had for the same quantity at another delta.
        certain: False: only so many steps could be looked at, and what is still changing counts as growing.
    """

    value: Size
    quantity: Quantity
    certain: bool = True

    @property
    def bounded(self) -> bool:
        """Whether nothing grows."""
        return self.value is not None and self.value <= 0


@dataclass(frozen=True, slots=True)
class Network:
    """A network whose rates are to be changed.

    Attributes:
        p: The parameterization, with its rates at delta = 0.
        setting: Optimizer, activation, loss.
        output: Whether the output may not grow either; False: only hidden layers may not (controlled
            divergence, for losses with bounded derivatives).
        calibrated: Whether the rates of layers 2..L+1 at step 0 stay as they are (`calibrated_rates`).
    """

    p: Parameterization
    setting: Rules
    output: bool
    calibrated: bool = False

    @property
    def by_factors(self) -> bool:
        """Whether `ipcore.theory.factors` describes it."""
        given = self.setting.alignment is not None
        return factors.covered(self.p) and not given and not self.setting.block_matrices

    def faster(self, step: int, delta: Fraction) -> tuple[Fraction, ...]:
        """By which power the rates of each layer are larger at a step."""
        others = _ZERO if self.calibrated and step == 0 else delta
        return (delta, *[others] * self.p.hidden_layers)

    def laws(self, phase: RatePhase, delta: Fraction) -> tuple[factors.Law, ...]:
        """What updates of a phase do."""
        laws = factors.laws(self.p, self.setting.optimizer, phase, self.setting.epsilon)
        return tuple(
            factors.Law(None if law.k is None else law.k + more, None if law.cap is None else law.cap + more)
            for law, more in zip(laws, self.faster(phase.start, delta), strict=True)
        )


def calibrated_rates(p: Parameterization, setting: Rules) -> Parameterization:
    """First rates of layers 2..L+1 as calibration measures them: every first update there adds order 1.

    Args:
        p: With h^1 of order 1 or more at initialization, and first updates that are aligned.
        setting: Optimizer, activation, loss.
    """
    run = Propagation(p, setting)
    run.forward(0)
    run.backward(0)
    inputs = [nonzero(setting.activation.size(max(h, _ZERO))) for h in run.h0[:-1]]
    c = tuple(unit + x for unit, x in zip(unit_rates(run)[1:], inputs, strict=True))
    first, later = p.phases[0], p.phases[1:]
    if not later or later[0].start > 1:
        later = (replace(first, start=1), *later)
    return replace(p, phases=(replace(first, c=(first.c[0], *c)), *later))


def without_updates(network: Network) -> Size:
    """The largest size that the initial weights alone make at any step: as delta -> -infinity."""
    run = Propagation(network.p, network.setting)
    sizes = [run.forward(0).h]
    run.backward(0)
    sizes += [run.forward(r.start).h for r in network.p.reweightings]
    return largest(*(size for h in sizes for size in (h if network.output else h[:-1])))


def growth(network: Network, delta: Fraction, quantity: Quantity | None = None) -> Growth:
    """What grows if all rates are m^delta times as large.

    Args:
        network: What is looked at.
        delta: Exponent.
        quantity: The number to give; None: the first that is above 0, or the last that decides.
    """
    if network.by_factors:
        return _by_factors(network, delta, quantity)
    return iterated(network, delta, aligned=True, until=quantity if isinstance(quantity, int) else None)


def iterated(
    network: Network, delta: Fraction, *, aligned: bool, until: int | None = None, rounds: int | None = None
) -> Growth:
    """As `growth`, by iterating the calculus.

    Args:
        network: What is looked at.
        delta: Exponent.
        aligned: Upper or lower bound on alignment (`Propagation`).
        until: Step whose sizes are wanted; None: until the exponents repeat or something grows.
        rounds: Updates to look at; None: 4(L+2) after every change of rates, as far as `MAX_WORK` allows.
    """
    p = network.p
    run = Propagation(p, network.setting, aligned=aligned)
    value = _largest(run.forward(0).h, network)
    run.backward(0)
    enough = 4 * (p.hidden_layers + 2) * (len(p.changes) + 1)
    step = 0
    for _ in range(rounds or min(enough, max(_SOON, MAX_WORK // p.hidden_layers))):
        if step == until or (until is None and value > 0):
            return Growth(value, step)
        before = run.state()
        bias_phase = None if p.biases is None else p.biases.phase_at(step)
        run.update(step, p.phase_at(step), bias_phase, faster=network.faster(step, delta))
        step += 1
        value = max(value, _largest(run.forward(step).h, network))
        run.backward(step)
        if run.state() == before:
            upcoming = [change for change in p.changes if change >= step]
            if not upcoming:
                return Growth(value, step)
            step = max(step, upcoming[0] - 1)
    return Growth(value if value > 0 else None, step, certain=value > 0)


def _largest(h: tuple[Size, ...], network: Network) -> Fraction:
    sizes = h if network.output else h[:-1]
    return nonzero(largest(*sizes))


def _by_factors(network: Network, delta: Fraction, quantity: Quantity | None) -> Growth:
    p, setting = network.p, network.setting
    weights = factors.degree_weights(p.hidden_layers, setting.activation.degree)
    offset = setting.activation.kind == "offset"
    entries: tuple[Size, ...] = (None,) * (p.hidden_layers + 1)
    certain, most = True, max(_MIN_ROUNDS, 4 * (p.hidden_layers + 2))
    for phase, following in pairwise(p.phases):
        change, rounds = network.laws(phase, delta), following.start - phase.start
        before: tuple[Size, ...] | None = None
        for _ in range(min(rounds, most)):
            gradients = _gradients(factors.factors(p, entries), weights, offset=offset)
            before, entries = entries, _added(entries, change, gradients)
            if entries == before:
                break
        certain = certain and (rounds <= most or entries == before)
    last = network.laws(p.phases[-1], delta)
    V = factors.factors(p, entries)
    if offset:
        above_it = _gradients(factors.offset_fixed_point(V, last), weights, offset=True)
        return Growth(_size(network, _added(entries, last, above_it)), FIXED, certain)
    if not setting.entrywise:
        least = _least(V, last, weights)
        if quantity == LEAST or (quantity is None and least > 0):
            return Growth(least, LEAST, certain)
    fixed = factors.fixed_point(V, last, weights)
    if fixed is None:
        return Growth(None, FIXED, certain)
    return Growth(_size(network, factors.entries_at(entries, last, fixed)), FIXED, certain)


def _least(V: factors.Factors, change: tuple[factors.Law, ...], weights: factors.Factors) -> Fraction:
    """The least value of G(S*) = S - S* + sum_l w_l max(0, (k_l + S*) / 2 - V_l), without caps."""
    starts = [(2 * v - nonzero(law.k), w) for v, law, w in zip(V, change, weights, strict=True)]
    total, at, slope = factors.total(V, weights), _ZERO, Fraction(-1)
    value = total  # at S* = 0, if nothing were active
    for where, w in sorted(starts):
        value, at, slope = value + slope * (where - at), where, slope + w / 2
        if slope >= 0:
            break
    return value


def _gradients(V: factors.Factors, weights: factors.Factors, *, offset: bool) -> list[Fraction]:
    """Sizes of the gradients of W^1..W^{L+1}."""
    if not offset:
        total = factors.total(V, weights)
        return [total - v for v in V]
    return list(accumulate(V[:0:-1], initial=_ZERO))[::-1]


def _added(
    entries: tuple[Size, ...], change: tuple[factors.Law, ...], gradients: Sequence[Fraction]
) -> tuple[Size, ...]:
    """U_l after one more update."""
    extra = factors.summed(len(change) - 1)
    updates = [law.update(g) - e for law, g, e in zip(change, gradients, extra, strict=True)]
    return tuple(largest(*pair) for pair in zip(entries, updates, strict=True))


def _size(network: Network, entries: Sequence[Size]) -> Fraction:
    """The largest size of a forward pass with these entries of the updates (the rule for later steps)."""
    p, phi = network.p, network.setting.activation
    none = (None,) * len(p.a)
    start = [nonzero(h) for h in initial.without_updates(p, phi, none, (_ZERO,) * len(p.a), none)]
    sizes: list[Fraction] = []
    moved = entries[0]
    for i, h0 in enumerate(start):
        if i > 0:
            passed = -(p.a[i] + p.b[i]) + (_HALF if i < p.hidden_layers else 1)
            below = times(passed, phi.change(start[i - 1], moved))
            moved = largest(times(entries[i], Fraction(1), phi.size(sizes[-1])), below)
        sizes.append(nonzero(largest(h0, moved)))
    return max(sizes if network.output else sizes[:-1])


def grows_below(network: Network, delta: Fraction) -> bool:
    """Whether something grows even with the smallest alignment that is possible: the lower bound grows."""
    found = iterated(network, delta, aligned=False, rounds=_SOON)
    return found.certain and above(found.value, _ZERO)
