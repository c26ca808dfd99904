"""The best rate of one seed: the vertex of a parabola through log loss against log2 rate.

Each seed has its own optimum at every width, so its drift over widths has the level cancelled, and the
drifts of seeds are independent: Student's t needs no model of the noise. (A vertex through means over seeds,
with a bootstrap, covers as little as 0.77 near rates at which runs diverge.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.analysis.welch import Contrast

Floats = npt.NDArray[np.float64]

MIN_POINTS: Final = 3
BEYOND: Final = 0.25
"""Octaves above the last rate that a vertex may lie."""


def vertex(octaves: Sequence[float] | Floats, logs: Sequence[float] | Floats) -> float:
    """log2 of the best rate of one seed at one width.

    The vertex of the least-squares parabola, cut to [first, last + 1/4]; of a parabola that is concave, the
    better end.

    Args:
        octaves: log2 rates, ascending, at least three; below the first rate at which the run diverges.
        logs: Natural logs of the losses, finite.

    >>> vertex((-1.0, -0.5, 0.0, 0.5), (1.21, 0.36, 0.01, 0.16))
    0.1
    >>> vertex((0.0, 0.5, 1.0), (0.0, 1.0, 0.5))
    0.0
    """
    place = _place(octaves, logs)
    first, last = octaves[0], octaves[-1]
    if math.isinf(place):
        return float(last if place > 0 else first)
    return round(float(min(max(place, first), last + BEYOND)), 12)


def range_of_vertex(
    octaves: Sequence[float] | Floats, logs: Sequence[float] | Floats, grid: Sequence[float]
) -> tuple[float, float]:
    """Interval of the best rate, log2: the vertex, or, if that was cut, up to the next rate of the grid.

    Args:
        octaves: As for `vertex`.
        logs: As for `vertex`.
        grid: log2 of all rates, ascending; those of `octaves` are among them.

    >>> range_of_vertex((-1.0, -0.5, 0.0, 0.5), (1.21, 0.36, 0.01, 0.16), (-1.0, -0.5, 0.0, 0.5))
    (0.1, 0.1)
    >>> range_of_vertex((-3.0, -2.0, -1.0), (0.9, 0.5, 0.2), (-3.0, -2.0, -1.0, 0.0))
    (-1.0, 0.0)
    """
    place, first, last = _place(octaves, logs), octaves[0], octaves[-1]
    if place > last + BEYOND:
        following = min((u for u in grid if u > last), default=2 * last - octaves[-2])
        return float(last), float(max(following, last + BEYOND))
    if place < first:
        return float(max((u for u in grid if u < first), default=2 * first - octaves[1])), float(first)
    found = vertex(octaves, logs)
    return found, found


def _place(octaves: Sequence[float] | Floats, logs: Sequence[float] | Floats) -> float:
    """The vertex, not cut; of a parabola that is concave inf or -inf, toward the better end."""
    x, y = np.asarray(octaves, np.float64), np.asarray(logs, np.float64)
    if len(x) < MIN_POINTS:
        raise ValueError(f"a parabola needs at least {MIN_POINTS} rates, not {len(x)}")
    middle = x.mean()
    curvature, slope, _ = _parabola(tuple((x - middle).tolist())) @ y
    if curvature <= 0:
        return -math.inf if y[0] <= y[-1] else math.inf
    return float(middle - slope / (2 * curvature))


def drift(widths: Sequence[int], optima: Mapping[int, Sequence[float]]) -> Contrast:
    """Octaves per doubling: the mean over seeds of sum_m w_m u*_ms, w the slope's weights over log2 m.

    Args:
        widths: m, at least two.
        optima: u* by seed, one per width.

    >>> drift((128, 256, 512), {0: (0.0, 0.5, 1.0), 1: (-2.0, -1.5, -1.0)})
    Contrast(value=0.5, se=0.0, df=inf)
    """
    weights = octave_weights(widths)
    slopes = np.array([weights @ np.asarray(row, np.float64) for row in optima.values()])
    n = len(slopes)
    if n < 2:
        return Contrast(float(slopes.mean()) if n else math.nan, math.inf, 1.0)
    se = float(slopes.std(ddof=1)) / math.sqrt(n)
    return Contrast(float(slopes.mean()), se, n - 1.0 if se else math.inf)


def octave_weights(widths: Sequence[int]) -> Floats:
    """Weights of the slope of the least-squares line over log2 m."""
    x = np.log2(np.asarray(widths, np.float64))
    centred = x - x.mean()
    return np.asarray(centred / (centred @ centred), np.float64)


@functools.lru_cache(maxsize=1024)  # windows of a grid have few shapes, and a study fits thousands of them
def _parabola(octaves: tuple[float, ...]) -> Floats:
    """From values to curvature, slope and level."""
    x = np.array(octaves)
    return np.asarray(np.linalg.pinv(np.stack([x**2, x, np.ones_like(x)], axis=1)), np.float64)
