"""The distance of networks of one width to the infinite-width limit, seed by seed.

Networks of width m are compared with the limit of their own seed, since a limit belongs to a sequence of
batches: D(m)^2 is the mean square distance of their outputs on the test set, the limits' own error taken out,
relative to the limits' (`ipcore.analysis.output_distance`). log D of a width has the standard error of its
jackknife pseudo-values (Miller, Ann. Math. Stat. 39, 1968) over seeds, and over the sums of the sketch from
which distances are computed. These sums are the same at all widths, so their error hardly affects slopes.

Where no limit is computed far wider networks take its place. Their own error is their variance, if it falls
like 1/m: at 16 times the width a 17th of the variance of the difference. Pseudo-values take it as known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ipcore.analysis.output_distance import own_square
from ipcore.catalogue.widths import INFINITE_WIDTH
from ipcore.studies.measures.judged import Floats, Values


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """Networks of one width beside the limits of their seeds.

    Attributes:
        log: Pseudo-values of log D, [seeds].
        sums: Pseudo-values of log D over the sums of the sketch, [J].
        bias: Part of D^2 that is squared bias, 0 .. 1.
        own: The reference's own error relative to |f|.
    """

    log: Floats
    sums: Floats
    bias: float
    own: float


@dataclass(frozen=True, slots=True)
class TestOutputs:
    """Outputs on the test set of networks and their limits, seed by seed.

    Attributes:
        sketches: (width, seeds) -> [seeds, 1 + J]: what the probe `outputs` records; of infinite width too.
        errors: (width, seeds) -> [seeds]: of infinite width the error of f relative to |f|; NaN: exact.
        times_wider: Networks this many times wider than the widest compared take the place of infinite
            width; 0: limits are computed.
    """

    __test__: ClassVar = False  # not a class of tests

    sketches: Values
    errors: Values
    times_wider: int = 0

    def beside(self, width: int, widest: int, seeds: int) -> Beside | str:
        """Networks beside their limits; a sentence if there is nothing to compare.

        Args:
            width: m.
            widest: The largest width compared, which determines the width in place of infinite width.
            seeds: S, at both.
        """
        reference = widest * self.times_wider or INFINITE_WIDTH
        networks, limits = self.sketches(width, seeds), self.sketches(reference, seeds)
        both = np.isfinite(networks).all(axis=1) & np.isfinite(limits).all(axis=1)
        if both.sum() < 2:
            where = f"width {reference:,}" if self.times_wider else "infinite width"
            return f"less than two seeds have outputs both at width {width} and at {where}"
        own = self._own(widest, reference, seeds)[both]
        found = _beside(networks[both, 1:] - limits[both, 1:], limits[both, 0] - own, own)
        if found is not None:
            return found
        if self.times_wider:
            return (
                f"outputs at width {width} are those of width {reference:,} within these networks' own "
                "error, or those are 0"
            )
        return (
            f"outputs at width {width} are those of infinite width within the particles' own error, or "
            "those are 0; more particles (infinite_width) have a smaller one"
        )

    def _own(self, widest: int, reference: int, seeds: int) -> Floats:
        """The squared error of the reference, [seeds]."""
        limits = self.sketches(reference, seeds)
        if not self.times_wider:
            return np.asarray(np.nan_to_num(self.errors(reference, seeds)) ** 2 * limits[:, 0], np.float64)
        off = (self.sketches(widest, seeds) - limits)[:, 1:]
        off = off[np.isfinite(off).all(axis=1)]
        # Of less than two seeds `beside` says that there are too few, at the widest width itself.
        return np.full(seeds, own_square(off, widest, reference) if len(off) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class PairedOutputs:
    """Outputs on the test set of networks beside kernel machines that start from their own f_0.

    Attributes:
        sketches: (width, seeds) -> [seeds, 1 + J]: what the probe `paired_outputs` records.
    """

    sketches: Values
    times_wider: ClassVar[int] = 0

    def beside(self, width: int, widest: int, seeds: int) -> Beside | str:
        """As `TestOutputs.beside`."""
        found = self.sketches(width, seeds)
        found = found[np.isfinite(found).all(axis=1)]
        if len(found) < 2:
            return f"less than two seeds have recorded outputs beside their kernel machines at width {width}"
        beside = _beside(found[:, 1:], found[:, 0], np.zeros(len(found)))
        return beside or f"outputs at width {width} do not move, or are those of the kernel machines exactly"


def _beside(off: Floats, units: Floats, own: Floats) -> Beside | None:
    """Networks less their limits; None where they are nearer than the limits' own error, or these are 0.

    Args:
        off: Sketches of the difference, [seeds, J].
        units: What squares are relative to, [seeds].
        own: Squared errors of the limits, [seeds].
    """
    n, sums = off.shape
    squares = (off**2).sum(axis=1) - own
    total, unit = squares.sum(), units.sum()
    # Without one seed, and without one sum whose share the others take over.
    fewer = total - squares
    others = ((off**2).sum() - (off**2).sum(axis=0)) * sums / max(sums - 1, 1) - own.sum()
    if not (unit > units.max() and min(total, fewer.min(), others.min()) > 0):
        return None
    log = math.log(total / unit) / 2
    centre = off.mean(axis=0)
    bias = float(centre @ centre - off.var(axis=0, ddof=1).sum() / n) / float(total / n)
    return Beside(
        n * log - (n - 1) * np.log(fewer / (unit - units)) / 2,
        sums * log - (sums - 1) * np.log(others / unit) / 2,
        min(1.0, max(0.0, bias)),
        math.sqrt(own.sum() / unit),
    )
