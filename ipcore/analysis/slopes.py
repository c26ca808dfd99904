"""Slopes of log size against log width: the measured exponent e of a size of order m^e.

Intervals are Student's, with Welch's degrees of freedom (`ipcore.analysis.welch`): honest from three seeds
on, whatever the number of runs at each width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ipcore.analysis.intervals import Estimate
from ipcore.analysis.samples import Samples, listed
from ipcore.analysis.welch import Contrast, bend_weights, contrasts, limit_weights, slope_weights
from ipcore.errors import AnalysisError
from ipcore.figures.intervals import Mean, mean
from ipcore.words import counted

MIN_WIDTHS: Final = 3
MOST_MISSING: Final = 0.05


@dataclass(frozen=True, slots=True)
class Slope:
    """A line through the means of log values against log width.

    Attributes:
        contrast: Its slope, with standard error and degrees of freedom.
        limit: The exponent in the fit A + e log m + kappa m^(-1/2): the slope without the next order in the
            width. Its standard deviation is five to seven times that of the slope.
        bend: Change of the local slope from the smallest to the largest width, from a parabola; 0 for an
            exact power of m. Far less certain than the slope.
        local: Slopes between neighbouring widths.
        widths: m, ascending.
        means: Geometric means over seeds, one per width.
        sizes: The same with Student's 95 % intervals.
        seeds: Number of seeds of the width with the fewest.
        residual: Root mean square distance of the mean logs (natural) from the line.
        missing: Runs without a value, in words, if they are more than 5 % at some width, so that the others
            are a selection; else "".
    """

    contrast: Contrast
    limit: Contrast
    bend: Contrast
    local: tuple[float, ...]
    widths: tuple[int, ...]
    means: tuple[float, ...]
    sizes: tuple[Mean, ...]
    seeds: int
    residual: float
    missing: str = ""

    @property
    def slope(self) -> Estimate:
        """Slope of the line, with its own 95 % interval."""
        return Estimate.of(self.contrast)

    @property
    def data(self) -> str:
        """The widths and seeds behind it: "widths 64..256, 2 seeds"."""
        return f"widths {self.widths[0]}..{self.widths[-1]}, {counted(self.seeds, 'seed')}"

    @property
    def drift(self) -> Estimate:
        """Estimate of `bend`, with its own 95 % interval."""
        return Estimate.of(self.bend)


def fit_slope(samples: Samples) -> Slope:
    """Fit a line to log value against log width.

    Args:
        samples: NaN where a run has no value; values > 0. Widths without any value are left out (and count
            as missing); at least three must be left.

    Raises:
        AnalysisError: Fewer than three widths, or values that are not positive.

    >>> widths = (64, 128, 256)
    >>> fit = fit_slope(Samples.of({(m, seed): m**-0.5 for m in widths for seed in range(3)}))
    >>> round(fit.slope.value, 6), fit.seeds
    (-0.5, 3)
    """
    gaps = ""
    if samples.widths:
        missing = float(np.isnan(samples.values).mean(axis=1).max())
        gaps, samples = samples.gaps() if missing > MOST_MISSING else "", samples.measured()
    check(samples)
    there = np.isfinite(samples.values)
    logs = [np.log(row[good]) for row, good in zip(samples.values, there, strict=True)]
    x = np.log(np.array(samples.widths, np.float64))
    means = np.array([row.mean() for row in logs])
    line = slope_weights(samples.widths)
    distances = means - means.mean() - float(line @ means) * (x - x.mean())
    slope, limit, bend = contrasts((line, limit_weights(samples.widths), bend_weights(samples.widths)), logs)
    return Slope(
        contrast=slope,
        limit=limit,
        bend=bend,
        local=tuple((np.diff(means) / np.diff(x)).tolist()),
        widths=samples.widths,
        means=tuple(np.exp(means).tolist()),
        sizes=tuple(mean(np.exp(row).tolist(), geometric=True) for row in logs),
        seeds=min(len(row) for row in logs),
        residual=float(np.sqrt(np.mean(distances**2))),
        missing=gaps,
    )


def fitted(samples: Samples, name: str) -> tuple[Slope | None, str]:
    """The fit of a quantity, if there can be one, and a note for the report.

    The note says why there is no fit, or which runs have no value; "" if nothing is missing.
    """
    try:
        fit = fit_slope(samples)
    except AnalysisError as error:
        return None, f"{name}: {error}"
    gaps = samples.gaps()
    return fit, f"{name}: {gaps}" if gaps else ""


def check(samples: Samples) -> None:
    """Refuse samples that no line can be fitted to.

    Raises:
        AnalysisError: See `fit_slope`.
    """
    if len(samples.widths) < MIN_WIDTHS:
        raise AnalysisError(
            f"a slope needs at least {MIN_WIDTHS} widths, there is {listed(samples.widths)}; add widths, "
            "best by doubling"
        )
    wrong = ~(np.isnan(samples.values) | (np.isfinite(samples.values) & (samples.values > 0)))
    if wrong.any():
        i, j = (int(index) for index in np.argwhere(wrong)[0])
        raise AnalysisError(
            f"the value at width {samples.widths[i]}, seed {samples.seeds[j]} is {samples.values[i, j]:g} "
            f"({int(wrong.sum())} are wrong); a slope of logarithms needs finite values > 0"
        )
