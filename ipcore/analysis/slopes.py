"""Slopes of log size against log width: the exponent e of a size of order m^e, as measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.analysis.resampling import Estimate, estimate, resamples
from ipcore.analysis.samples import Samples, listed
from ipcore.errors import AnalysisError
from ipcore.figures.intervals import Mean, mean

MIN_WIDTHS: Final = 3


@dataclass(frozen=True, slots=True)
class Slope:
    """A line through the seed means of log values against log width, and how it bends.

    Attributes:
        slope: Of the line.
        drift: Change of the local slope from the smallest to the largest width, from a parabola; 0 for an
            exact power of m. Far less certain than the slope.
        end: slope + drift/2, the local slope at the largest width.
        ahead: slope + drift, the slope to expect over as many doublings again beyond the largest width.
        local: Slopes between neighbouring widths.
        widths: m, ascending.
        means: Geometric means over seeds, one per width.
        sizes: The same with Student's 95 % intervals.
        seeds: How many.
        residual: Root mean square distance of the mean logs (natural) from the line.
    """

    slope: Estimate
    drift: Estimate
    end: Estimate
    ahead: Estimate
    local: tuple[float, ...]
    widths: tuple[int, ...]
    means: tuple[float, ...]
    sizes: tuple[Mean, ...]
    seeds: int
    residual: float


def fit_slope(samples: Samples) -> Slope:
    """Fit a line to log value against log width, with bootstrap intervals over seeds.

    Seeds are resampled as a whole, the same at all widths: a seed is the same data order everywhere.

    Args:
        samples: At least three widths, no gaps (`Samples.paired`), values > 0.

    Raises:
        AnalysisError: Fewer than three widths, missing values, or values that are not positive.

    >>> widths = (64, 128, 256)
    >>> fit = fit_slope(Samples.of({(m, seed): (1 + seed) * m**-0.5 for m in widths for seed in range(3)}))
    >>> round(fit.slope.value, 6), fit.seeds
    (-0.5, 3)
    """
    check(samples)
    logs = np.log(samples.values)
    x = np.log(np.array(samples.widths, np.float64))
    line, bend = _weights(x)
    # Both are linear in the mean logs, so all draws are two small products.
    drawn = logs @ resamples(len(samples.seeds)).T
    means = logs.mean(axis=1)
    slope, drift = float(line @ means), float(bend @ means)
    seeds = len(samples.seeds)
    distances = means - means.mean() - slope * (x - x.mean())
    return Slope(
        slope=estimate(slope, line @ drawn, seeds),
        drift=estimate(drift, bend @ drawn, seeds),
        end=estimate(slope + drift / 2, (line + bend / 2) @ drawn, seeds),
        ahead=estimate(slope + drift, (line + bend) @ drawn, seeds),
        local=tuple((np.diff(means) / np.diff(x)).tolist()),
        widths=samples.widths,
        means=tuple(np.exp(means).tolist()),
        sizes=tuple(mean(row, geometric=True) for row in samples.values.tolist()),
        seeds=seeds,
        residual=float(np.sqrt(np.mean(distances**2))),
    )


def check(samples: Samples) -> None:
    """Refuse what no line can be drawn through.

    Raises:
        AnalysisError: See `fit_slope`.
    """
    if len(samples.widths) < MIN_WIDTHS:
        raise AnalysisError(
            f"a slope needs at least {MIN_WIDTHS} widths, there is {listed(samples.widths)}; add widths, "
            "best by doubling"
        )
    wrong = ~(np.isfinite(samples.values) & (samples.values > 0))
    if wrong.any():
        i, j = (int(index) for index in np.argwhere(wrong)[0])
        value = float(samples.values[i, j])
        said = "is missing" if np.isnan(value) else f"is {value:g}"
        raise AnalysisError(
            f"the value at width {samples.widths[i]}, seed {samples.seeds[j]} {said} ({int(wrong.sum())} are "
            "wrong); a slope of logarithms needs finite values > 0 at every width and seed"
        )


def _weights(x: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Two weightings of y: slope of the line, and change of the slope of the parabola from end to end."""
    centred = x - x.mean()
    line = centred / (centred @ centred)
    parabola = np.linalg.pinv(np.stack([np.ones_like(x), centred, centred**2], axis=1))
    return line, 2 * (x[-1] - x[0]) * parabola[2]
