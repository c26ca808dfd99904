"""Measurements: one number per width and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipcore.errors import AnalysisError


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """One number per width and seed.

    Attributes:
        widths: m, ascending.
        seeds: Ascending. The same seed means the same randomness at every width.
        values: [widths, seeds] float64; NaN for missing values (such as of diverged runs).

    >>> Samples.of({(64, 0): 1.0, (128, 0): 2.0, (64, 1): 3.0}).values
    array([[ 1.,  3.],
           [ 2., nan]])
    """

    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    values: npt.NDArray[np.float64]

    @classmethod
    def of(cls, values: Mapping[tuple[int, int], float]) -> Samples:
        """From values by (width, seed)."""
        widths = tuple(sorted({width for width, _ in values}))
        seeds = tuple(sorted({seed for _, seed in values}))
        rows = [[values.get((width, seed), np.nan) for seed in seeds] for width in widths]
        return cls(widths, seeds, np.array(rows, np.float64).reshape(len(widths), len(seeds)))

    def paired(self) -> Samples:
        """The part without gaps: widths that have any value, and the seeds that have one at each of them.

        Raises:
            AnalysisError: Nothing is left.
        """
        there = np.isfinite(self.values)
        widths = self._rows(there)
        seeds = np.flatnonzero(there[widths].all(axis=0)).tolist()
        if not seeds:
            raise AnalysisError(
                f"no seed has a value at all of the widths {listed([self.widths[i] for i in widths])}: the "
                "others diverged or recorded nothing; add seeds, or leave out the widths where runs diverge"
            )
        return Samples(
            tuple(self.widths[i] for i in widths),
            tuple(self.seeds[j] for j in seeds),
            self.values[np.ix_(widths, seeds)],
        )

    def measured(self) -> Samples:
        """The widths at which any run has a value; gaps stay NaN.

        Raises:
            AnalysisError: Nothing is left.
        """
        widths = self._rows(~np.isnan(self.values))
        return Samples(tuple(self.widths[i] for i in widths), self.seeds, self.values[widths])

    def _rows(self, there: npt.NDArray[np.bool_]) -> list[int]:
        """Positions of the widths at which there is any value, and at least one."""
        widths = [i for i, row in enumerate(there) if row.any()]
        if not widths:
            raise AnalysisError(
                f"no run has a value at any of the widths {listed(self.widths)}: all of them diverged or "
                "recorded nothing"
            )
        return widths

    def gaps(self) -> str:
        """Description of the runs without a value; "" if there are none.

        >>> Samples.of({(64, 0): 1.0, (64, 1): np.nan, (128, 0): 1.0, (128, 1): 1.0}).gaps()
        '1 of 2 runs at width 64 have no value'
        """
        there = np.isfinite(self.values)
        short = [
            f"{int((~row).sum())} of {len(row)} runs at width {width}"
            for width, row in zip(self.widths, there, strict=True)
            if not row.all()
        ]
        return f"{', '.join(short)} have no value" if short else ""

    def left_out(self, paired: Samples) -> str:
        """Description of the widths and seeds that `paired` lacks; "" if there are none."""
        widths = [width for width in self.widths if width not in paired.widths]
        seeds = [seed for seed in self.seeds if seed not in paired.seeds]
        parts = [
            f"{name} {listed(values)}" for name, values in (("widths", widths), ("seeds", seeds)) if values
        ]
        return f"left out for missing values: {' and '.join(parts)}" if parts else ""


def listed(values: object) -> str:
    """Numbers as a person writes them.

    >>> listed((64, 128))
    '64, 128'
    """
    return ", ".join(str(value) for value in np.asarray(values).tolist()) or "none"
