"""The exponent at which two slopes meet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ipcore.analysis.welch import Contrast, contrast, slope_weights
from ipcore.studies.decision import Interval, Verdict
from ipcore.studies.measures.judged import Judged, Values, finite


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where along one exponent two slopes meet: u(v) = theta_1 + 2 (theta_2 - theta_1)(v - 1/2) - theta_0.

    theta_1 and theta_2 are measured 1/2 and 1 into the side on which the size moves with the exponent,
    theta_0 1/2 into the other. u is 0 at the boundary, v = 0 if it is where it is held to be. agrees: u(-tau)
    and u(tau) have proven opposite signs; disagrees: proven equal ones.

    Attributes:
        flat: Natural logs at v = -1/2.
        near: At v = 1/2.
        far: At v = 1.
        tolerance: tau.
        at: The exponent at v = 0.
        side: +1 if v grows with the exponent, -1 if it falls.
    """

    flat: Values
    near: Values
    far: Values
    tolerance: float
    at: float = 0.0
    side: int = 1

    unit: ClassVar[str] = "exponent"

    def judge(self, widths: Sequence[int], counts: Sequence[int], error: float) -> Judged:
        """See `Measure`."""
        slopes = []
        for values in (self.flat, self.near, self.far):
            samples = finite(values, widths, counts)
            if isinstance(samples, str):
                return Judged.nothing(samples, self.unit)
            slopes.append(contrast(slope_weights(widths), samples))

        def u(v: float) -> Contrast:
            flat, near, far = slopes
            return near * (2 - 2 * v) + far * (2 * v - 1) + flat * -1

        found = between_signs(u, self.tolerance, error)
        ends = sorted(self.at + self.side * end for end in (found.interval.low, found.interval.high))
        return replace(found, interval=Interval(self.at + self.side * found.interval.value, *ends))


def between_signs(u: Callable[[float], Contrast], tolerance: float, error: float) -> Judged:
    """The rule of `Boundary`.

    Args:
        u: Linear in v; 0 at the boundary.
        tolerance: tau.
        error: a*.
    """
    ends = [u(-tolerance), u(tolerance)]
    signs = [_sign(end, error) for end in ends]
    verdict = Verdict.UNDECIDED
    if 0 not in signs:
        verdict = Verdict.DISAGREES if signs[0] == signs[1] else Verdict.AGREES
    places = np.linspace(-1.0, 1.0, 401)
    open_places = [float(v) for v in places if _sign(u(float(v)), error) == 0]
    at_zero, slope = u(0.0).value, u(1.0).value - u(0.0).value
    root = -at_zero / slope if slope else math.nan
    low = open_places[0] if open_places and open_places[0] > -1 else -math.inf
    high = open_places[-1] if open_places and open_places[-1] < 1 else math.inf
    if not open_places and math.isfinite(root):
        low = high = root
    worst = min(ends, key=lambda end: abs(end.value) - end.se)
    gap = abs(worst.value)
    return Judged(verdict, Interval(root, low, high), worst, gap, gap, "exponent")


def _sign(end: Contrast, error: float) -> int:
    low, high = end.bounds(error)
    return 1 if low > 0 else -1 if high < 0 else 0
