"""The best rate of one seed: the vertex of a parabola through log loss against log2 rate.

Each seed has its own optimum at every width, so its drift over widths has the level cancelled, and the
drifts of seeds are independent: Student's t needs no model of the noise. (A vertex through means over seeds,
with a bootstrap, covers as little as 0.77 near rates at which runs diverge.)
"""

from __future__ import annotations

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
    x, y = np.asarray(octaves, np.float64), np.asarray(logs, np.float64)
    if len(x) < MIN_POINTS:
        raise ValueError(f"a parabola needs at least {MIN_POINTS} rates, not {len(x)}")
    middle = x.mean()
    curvature, slope, _ = _parabola(x - middle) @ y
    if curvature <= 0:
        return float(x[0] if y[0] <= y[-1] else x[-1])
    place = middle - slope / (2 * curvature)
    return round(float(min(max(place, x[0]), x[-1] + BEYOND)), 12)


def drift(widths: Sequence[int], optima: Mapping[int, Sequence[float]]) -> Contrast:
    """Octaves per doubling: the mean over seeds of sum_m w_m u*_ms, w the slope's weights over log2 m.

    Args:
        widths: m, at least two.
        optima: u* by seed, one per width.

    >>> drift((128, 256, 512), {0: (0.0, 0.5, 1.0), 1: (-2.0, -1.5, -1.0)})
    Contrast(value=0.5, se=0.0, df=inf)
    """
    x = np.log2(np.asarray(widths, np.float64))
    centred = x - x.mean()
    weights = centred / (centred @ centred)
    slopes = np.array([weights @ np.asarray(row, np.float64) for row in optima.values()])
    n = len(slopes)
    if n < 2:
        return Contrast(float(slopes.mean()) if n else math.nan, math.inf, 1.0)
    se = float(slopes.std(ddof=1)) / math.sqrt(n)
    return Contrast(float(slopes.mean()), se, n - 1.0 if se else math.inf)


def _parabola(x: Floats) -> Floats:
    """From values to curvature, slope and level."""
    return np.asarray(np.linalg.pinv(np.stack([x**2, x, np.ones_like(x)], axis=1)), np.float64)
