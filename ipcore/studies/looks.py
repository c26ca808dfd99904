"""Repeated looks that keep the error rate.

A study looks at n = 4, 6, 9, ... seeds. Each bound of each look errs with probability a*, chosen so that a
bound errs at any of the looks with probability at most a: P(max over looks Z > z(1 - a*)) = 0.88 a for the
standardized sums of normals (recursion of Armitage, McPherson & Rowe, J. R. Stat. Soc. A 132, 1969); 0.88
makes up for Student's distribution at 4 and 6 seeds. Looks may be skipped. With K cells and error rate e,
a = e w / K (Bonferroni), where w = .8, .1, .05, .05 for successive windows of widths.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Final

import numpy as np
import numpy.typing as npt

LOOKS: Final = (4, 6, 9, 13, 19, 28, 42, 63, 94, 141)
WINDOWS: Final = (0.8, 0.1, 0.05, 0.05)
_STUDENT: Final = 0.88
_POINTS: Final = 161
_LOWEST: Final = -8.0
_TURNS: Final = 20
_CLOSE: Final = 1e-6


def error_per_look(error_rate: float, cells: int, window: int) -> float:
    """a*: probability with which one bound of one look may err.

    Args:
        error_rate: Error rate of the study, for any wrong verdict.
        cells: K.
        window: How often the widths have moved, 0..3.

    >>> [float(f"{error_per_look(0.05, cells, 0):.2g}") for cells in (1, 8, 16)]
    [0.006, 0.00062, 0.0003]
    """
    return _per_look(error_rate * WINDOWS[window] / cells)


@functools.lru_cache(maxsize=1024)
def _per_look(error: float) -> float:
    """Solve `crossing(z(1 - a*)) = 0.88 a` for a* by the secant method over logarithms."""
    from scipy.special import ndtri  # noqa: PLC0415 - see `ipcore.analysis.welch.student`

    wanted = math.log(_STUDENT * error)

    def missing(logarithm: float) -> float:
        return math.log(crossing(float(-ndtri(math.exp(logarithm))))) - wanted

    before, now = wanted - math.log(2 * len(LOOKS)), wanted - math.log(len(LOOKS) / 2)
    off = missing(before)
    for _ in range(_TURNS):
        found = missing(now)
        if abs(found) < _CLOSE or found == off:
            break
        before, now, off = now, now - found * (now - before) / (found - off), found
    return math.exp(now)


def crossing(z: float, looks: tuple[int, ...] = LOOKS) -> float:
    """P(max over looks of S_n/sqrt(n) > z) for sums S_n of independent standard normals."""
    from scipy.special import ndtr  # noqa: PLC0415 - see `ipcore.analysis.welch.student`

    total = float(ndtr(-z))
    share = np.linspace(0.0, 1.0, _POINTS)
    # Density of S_n where no bound was crossed so far, on [-8 sqrt(n), z sqrt(n)].
    points = math.sqrt(looks[0]) * (_LOWEST + (z - _LOWEST) * share)
    density = _normal(points / math.sqrt(looks[0])) / math.sqrt(looks[0])
    for before, now in itertools.pairwise(looks):
        step = math.sqrt(now - before)
        weights = _simpson(len(points)) * (points[1] - points[0]) * density
        total += float(weights @ ndtr((points - z * math.sqrt(now)) / step))
        new = math.sqrt(now) * (_LOWEST + (z - _LOWEST) * share)
        density = _normal((new[:, None] - points[None, :]) / step) @ weights / step
        points = new
    return total


def _normal(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), np.float64)


def _simpson(points: int) -> npt.NDArray[np.float64]:
    weights = np.ones(points)
    weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    return weights / 3
