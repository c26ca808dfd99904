"""Whether anything grows when all rates are m^delta times as large, and by how much: a number to search with.

Put c - delta in the place of c, in all layers and phases (biases too). Updates never make sizes smaller, so
the network stays bounded iff it does in the limit of the last phase of rates. The calculus is iterated up to
that phase. The limit is decided by `ipcore.theory.forever` where that covers the network; otherwise (own
biases, means, re-weighted matrices, residual blocks, alignment that is given), and for the run of lower
bounds on alignment, the calculus is iterated until its exponents repeat, or something grows.

As functions of delta all sizes after gradient or sign updates, and the number that says whether they stay
bounded (`forever.pressure`), are convex and piecewise linear (the latter from the last phase on at degrees
above 1). [ours, docs/theory.md, section 4]

Where preactivations are normalized nothing but the output can grow. It does so by its own matrix, whose
gradient does not depend on the layers below, or because some y^l changes by more than the readout allows;
that change ends at order 1, and layers below the first that reaches it no longer matter. So whether the
output grows depends on delta in one direction here too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from ipcore.theory.calculus import Propagation
from ipcore.theory.forever import decides, future, pressure
from ipcore.theory.maxplus import Size, above, largest, nonzero
from ipcore.theory.parameterization import Parameterization
from ipcore.theory.rate_solver import unit_rates
from ipcore.theory.rules import Rules
from ipcore.theory.sizes import Sizes

_ZERO: Final = Fraction(0)
LEAST: Final = "least"
FIXED: Final = "fixed"
MAX_WORK: Final = 4_000  # hidden layers times steps of one iteration
_SOON: Final = 16  # updates after which what grows by rates that are too large has grown
Quantity = str | int
"""Kind of number: the least value of G, the largest size at the fixed point, or that after a step."""


@dataclass(frozen=True, slots=True)
class Growth:
    """A quantity that grows, or the last that decides.

    Attributes:
        value: Exponent of the quantity: it grows with the width iff this is above 0. None: it grows without a
            number for it.
        quantity: Which one; a number can be had for the same quantity at another delta.
        certain: False: the number of steps was limited, and quantities that still change count as growing.
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
        """Whether all steps are decided without iterating."""
        return decides(self.p, self.setting)

    def faster(self, step: int, delta: Fraction) -> tuple[Fraction, ...]:
        """Exponents by which the rates of each layer are larger at a step."""
        others = _ZERO if self.calibrated and step == 0 else delta
        return (delta, *[others] * self.p.hidden_layers)


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
    sizes = [run.forward(0)]
    run.backward(0)
    sizes += [run.forward(r.start) for r in network.p.reweightings]
    return largest(*(size for one in sizes for size in _counting(one, network)))


def growth(network: Network, delta: Fraction, quantity: Quantity | None = None) -> Growth:
    """The growth if all rates are m^delta times as large.

    Args:
        network: The network and what may not grow in it.
        delta: Exponent of the factor m^delta.
        quantity: The number to give; None: the first that is above 0, or the last that decides.
    """
    return _followed(network, delta, aligned=True, decide=network.by_factors, quantity=quantity)


def iterated(network: Network, delta: Fraction, *, aligned: bool, rounds: int | None = None) -> Growth:
    """As `growth`, for one of the bounds on alignment, and only by iteration.

    Args:
        network: The network and what may not grow in it.
        delta: Exponent of the factor m^delta.
        aligned: Upper or lower bound on alignment (`Propagation`).
        rounds: Updates to look at; None: 4(L+2) after every change of rates, as far as `MAX_WORK` allows.
    """
    return _followed(network, delta, aligned=aligned, decide=False, rounds=rounds)


def grows_below(network: Network, delta: Fraction) -> bool:
    """Whether something grows even with the smallest alignment that is possible: the lower bound grows."""
    found = iterated(network, delta, aligned=False, rounds=_SOON)
    return found.certain and above(found.value, _ZERO)


def _followed(
    network: Network,
    delta: Fraction,
    *,
    aligned: bool,
    decide: bool,
    quantity: Quantity | None = None,
    rounds: int | None = None,
) -> Growth:
    """Arguments as for `growth` and `iterated`; `decide`: whether the last phase is not iterated."""
    p = network.p
    run = Propagation(p, network.setting, aligned=aligned)
    value = _largest(run.forward(0), network)
    run.backward(0)
    last = p.phases[-1].start
    enough = 4 * (p.hidden_layers + 2) * (len(p.changes) + 1)
    step = 0
    for _ in range(rounds or min(enough, max(_SOON, MAX_WORK // p.hidden_layers))):
        if step == quantity or (quantity is None and value > 0):
            return Growth(value, step)
        if decide and step >= last and not isinstance(quantity, int):
            return _for_ever(network, run, step, delta, quantity)
        before = run.state()
        bias_phase = None if p.biases is None else p.biases.phase_at(step)
        run.update(step, p.phase_at(step), bias_phase, faster=network.faster(step, delta))
        step += 1
        value = max(value, _largest(run.forward(step), network))
        run.backward(step)
        if run.state() == before:
            upcoming = [change for change in p.changes if change >= step]
            if not upcoming:
                return Growth(value, step)
            step = max(step, upcoming[0] - 1)
    if decide and not isinstance(quantity, int):  # the phases before the last are too long to follow
        return replace(_for_ever(network, run, last, delta, quantity), certain=False)
    return Growth(value if value > 0 else None, step, certain=value > 0)


def _for_ever(
    network: Network, run: Propagation, step: int, delta: Fraction, quantity: Quantity | None
) -> Growth:
    """The growth in the last phase of rates."""
    faster = network.faster(step, delta)
    if quantity != FIXED:
        least = pressure(run, step, faster)
        if least is not None and (quantity == LEAST or least > 0):
            return Growth(least, LEAST)
    limit = future(run, step, faster).limit
    return Growth(None if limit is None else _largest(limit, network), FIXED)


def _largest(sizes: Sizes, network: Network) -> Fraction:
    return nonzero(largest(*_counting(sizes, network)))


def _counting(sizes: Sizes, network: Network) -> tuple[Size, ...]:
    """The sizes that may not grow."""
    return sizes.seen if network.output else sizes.seen[:-1]
