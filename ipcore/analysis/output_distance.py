"""Distances of networks from their limits, by sketches of outputs (`ipcore.probes.outputs`).

A limit belongs to a sequence of batches, so each network is compared with the limit of its own seed. With
off_s = f_s - g_s of S seeds, f_s a network's outputs and g_s its limit's, relative to the mean of |g_s|^2:

    D^2 = mean |off_s|^2 - own
    V   = variance of off_s over seeds - own
    b^2 = |mean off_s|^2 - (V + own) / S

`own` is the squared error of the limits, averages over systems of particles that each seed draws anew. The
sketch is linear, so all of this follows from sketches of f_s and g_s; |g_s|^2 is recorded exactly. Intervals
are over seeds and over the sums of the sketch together.

Where the limit is a kernel machine with a random f_0, g_s is the machine that starts from the network's own
f_0. Then off_s itself is recorded (`ipcore.probes.paired`), distances are relative to |g_s - f_0|, own = 0.

If no limit is computed (muP), a network of M >= 16 m neurons takes its place. Its variance is taken to be the
m / M-th part of that of a network of width m, so that the variance of off_s is V (1 + m / M).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from ipcore.analysis.limit_distance import (
    LimitDistance,
    WidthDistance,
    fit_distances,
    is_zero,
    width_distances,
)
from ipcore.catalogue.widths import TIMES_WIDER
from ipcore.errors import AnalysisError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """A run's record of its outputs at a step.

    Attributes:
        mean_square: Mean f^2 over all outputs on the test set.
        sums: The sketch, (J,): its squares sum to the mean square on average.
        error: For a limit, its root mean square error relative to |f|; 0 where it is exact or not known.
        moved: Of a network that was recorded beside the kernel machine of its own f_0: mean (g - f_0)^2, and
            `sums` are those of f - g; None: it was not.
    """

    mean_square: float
    sums: Floats
    error: float = 0.0
    moved: float | None = None

    @classmethod
    def paired(cls, recorded: Sequence[float] | Floats) -> Self:
        """From the values of "paired_sketch/0", "paired_sketch/1", ... in this order."""
        values = np.asarray(recorded, np.float64)
        sums = values[1:]
        return cls(float(sums @ sums), sums, moved=float(values[0]))

    @property
    def limit(self) -> Self | None:
        """What it was recorded beside, where `sums` begin."""
        return None if self.moved is None else type(self)(self.moved, np.zeros_like(self.sums))

    @classmethod
    def of(cls, recorded: Sequence[float] | Floats, error: float | None = None) -> Self:
        """From the values of "output_sketch/0", "output_sketch/1", ... in this order."""
        values = np.asarray(recorded, np.float64)
        known = error is not None and math.isfinite(error)
        return cls(float(values[0]), values[1:], error if known and error is not None else 0.0)

    @property
    def own(self) -> float:
        """The limit's own squared error."""
        return self.error**2 * self.mean_square


def stand_in(widths: Collection[int]) -> int | None:
    """The width that takes the place of infinite width: one that is far larger than all others, if any.

    >>> stand_in([64, 128, 256, 4096]), stand_in([64, 128, 256, 512])
    (4096, None)
    """
    *others, widest = sorted(widths) or [0]
    return widest if others and widest >= TIMES_WIDER * others[-1] else None


def own_square(off: Floats, m: int, width: int) -> float:
    """Squared error of networks used in place of infinite width: their variance, if it falls like 1/m.

    Args:
        off: Sketches of narrower networks less theirs, seed by seed, (S, J) with S >= 2.
        m: Width of the narrower networks.
        width: M, theirs.
    """
    return float(off.var(axis=0, ddof=1).sum()) * m / (m + width)


def with_own_error(
    wide: Mapping[int, Outputs], width: int, others: Mapping[int, Mapping[int, Outputs]]
) -> dict[int, Outputs]:
    """Networks in place of infinite width, with their own error.

    Args:
        wide: By seed.
        width: M, theirs.
        others: Narrower networks by width, then by seed; the widest of them say how large the variance is.
    """
    m, by_seed = max(others.items())
    both = sorted(by_seed.keys() & wide.keys())
    if len(both) < 2:
        return dict(wide)
    own = own_square(np.stack([by_seed[seed].sums - wide[seed].sums for seed in both]), m, width)
    return {seed: replace(one, error=math.sqrt(own / one.mean_square)) for seed, one in wide.items()}


def output_distance(
    networks: Mapping[int, Mapping[int, Outputs]],
    limits: Mapping[int, Outputs],
    *,
    needed: tuple[float, ...] = (),
) -> LimitDistance:
    """Relative distances of networks from the limits of their seeds.

    Args:
        networks: By width, then by seed.
        limits: By seed; none where networks were recorded beside their own.
        needed: Distances eps > 0 for which a width is wanted.

    Raises:
        AnalysisError: Less than two seeds at a width, fewer than three widths, a limit that is 0 within its
            own error, or networks that are nearer to it than that.
    """
    squares, parts, own = _squares(networks, limits)
    return fit_distances(squares, parts, own=own, needed=needed)


def distances_by_width(
    networks: Mapping[int, Mapping[int, Outputs]], limits: Mapping[int, Outputs]
) -> tuple[WidthDistance, ...]:
    """Distances alone, where widths are too few for a slope; arguments and errors as of `output_distance`."""
    squares, parts, own = _squares(networks, limits)
    return width_distances(squares, parts, own=own)


def _squares(
    networks: Mapping[int, Mapping[int, Outputs]], limits: Mapping[int, Outputs]
) -> tuple[dict[int, Floats], dict[int, tuple[float, float]], float]:
    """Squared distances and V, b^2 by width, and the limits' own error: relative to their mean square."""
    squares, parts, relative = dict[int, Floats](), dict[int, tuple[float, float]](), 0.0
    for width, by_seed in networks.items():
        beside = {seed: one.limit for seed, one in by_seed.items() if one.limit is not None} or limits
        both = sorted(by_seed.keys() & beside.keys())
        if len(both) < 2:
            raise AnalysisError(f"width {width} has {len(both)} seeds beside their limits; needs at least 2")
        own, unit = _unit(beside.values())
        off = np.stack([by_seed[seed].sums - beside[seed].sums for seed in both])
        squares[width] = off**2 / unit
        spread, centre = float(off.var(axis=0, ddof=1).sum()), off.mean(axis=0)
        bias = float(centre @ centre) - spread / len(both)
        parts[width] = (spread - own) / unit, bias / unit
        relative = own / unit  # the same at all widths
    return squares, parts, relative


def _unit(limits: Collection[Outputs]) -> tuple[float, float]:
    """The limits' own squared error, and their mean square without it."""
    own = float(np.mean([limit.own for limit in limits]))
    unit = float(np.mean([limit.mean_square - limit.own for limit in limits]))
    if is_zero(unit, own):
        raise AnalysisError(
            f"outputs of the limit are 0 within its own error ({math.sqrt(own):.2g}), so that a relative "
            "distance means nothing; more particles or replicas (infinite_width) have a smaller error"
        )
    return own, unit
