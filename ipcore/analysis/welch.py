"""Linear contrasts of means whose variances differ: slopes over widths with Welch's degrees of freedom.

Over widths m_k, x = log m, the slope of the least-squares line through the means y_k of natural logs is
sum_k w_k y_k, w_k = (x_k - xbar)/sum (x - xbar)^2, with se^2 = sum v_k, v_k = w_k^2 s_k^2/n_k, and
df = (sum v_k)^2 / sum v_k^2/(n_k - 1) (Welch, Biometrika 34, 1947). Widths of one seed correlate little
(0.04 in the median of real runs), so they count as independent.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

KAPPA: Final = 2.0


@dataclass(frozen=True, slots=True)
class Contrast:
    """An estimate with its standard error.

    Attributes:
        value: The estimate.
        se: Standard error; inf where it is unknown (one value).
        df: Degrees of freedom of `se`, > 0; inf with se 0.
    """

    value: float
    se: float
    df: float

    def bounds(self, error: float) -> tuple[float, float]:
        """Lower and upper bound, each of which errs with probability `error`."""
        half = self.half(error)
        return self.value - half, self.value + half

    def half(self, error: float, more: float = 1.0) -> float:
        """Half the width of the interval, t(df, 1 - error) se.

        Args:
            error: Error probability of each bound.
            more: Factor by which the number of seeds is multiplied.
        """
        if self.se == 0:
            return 0.0
        return math.inf if math.isinf(self.se) else student(self.df * more, error) * self.se / more**0.5

    def __add__(self, other: Contrast) -> Contrast:
        """Sum of independent estimates."""
        return _combined(self.value + other.value, [(self.se**2, self.df), (other.se**2, other.df)])

    def __mul__(self, factor: float) -> Contrast:
        """A multiple."""
        return Contrast(factor * self.value, abs(factor) * self.se, self.df)


def student(df: float, error: float) -> float:
    """The quantile t(df, 1 - error) of Student's distribution.

    >>> round(student(8, 0.0060), 2), round(student(8, 0.00062), 2), round(student(3, 0.025), 4)
    (3.23, 4.87, 3.1824)
    """
    # Imported where it is used: it takes longer than all else that an API process imports to start.
    from scipy.special import stdtrit  # noqa: PLC0415

    return float(stdtrit(min(df, 1e9), 1 - error))


def contrast(weights: Sequence[float] | Floats, samples: Sequence[Floats]) -> Contrast:
    """sum_k w_k mean(y_k) with Welch's standard error.

    Args:
        weights: One per sample.
        samples: Values of each width, finite, at least one where the weight is not 0.

    >>> contrast((-1.0, 1.0), [np.array([1.0, 3.0]), np.array([5.0, 5.0, 8.0])])
    Contrast(value=4.0, se=1.4142135623730951, df=2.6666666666666665)
    """
    return contrasts([weights], samples)[0]


def contrasts(rows: Sequence[Sequence[float] | Floats], samples: Sequence[Floats]) -> list[Contrast]:
    """`contrast` with each of several rows of weights; means and variances are computed once."""
    known = [_moments(sample) if len(sample) else (math.nan, math.inf, 0.0) for sample in samples]
    found = []
    for weights in rows:
        value, parts = 0.0, []
        for weight, (mean, variance, df) in zip(weights, known, strict=True):
            if weight == 0:
                continue
            value += float(weight) * mean
            parts.append((float(weight) ** 2 * variance, df))
        found.append(_combined(value, parts))
    return found


def _moments(sample: Floats) -> tuple[float, float, float]:
    """The mean of values, its variance, and the degrees of freedom of that."""
    n = len(sample)
    return float(sample.mean()), float(sample.var(ddof=1)) / n if n > 1 else math.inf, n - 1.0


def slope_weights(widths: Sequence[int]) -> Floats:
    """Weights of the slope of the least-squares line over log m.

    >>> np.round(slope_weights((128, 256, 512, 1024)) * np.log(2), 2)
    array([-0.3, -0.1,  0.1,  0.3])
    """
    x = np.log(np.asarray(widths, np.float64))
    centred = x - x.mean()
    return np.asarray(centred / (centred @ centred), np.float64)


def limit_weights(widths: Sequence[int]) -> Floats:
    """Weights of the exponent in the fit A + e log m + kappa m^(-1/2): the slope without the next order.

    Needs three widths. Its standard deviation is five to seven times that of the slope.
    """
    return _limit_weights(tuple(widths))


def bend_weights(widths: Sequence[int]) -> Floats:
    """Weights of the change of the local slope from the smallest to the largest width, from a parabola."""
    return _bend_weights(tuple(widths))


# A report or a study fits hundreds of slopes over the same widths, and inverting these matrices takes long.
@functools.lru_cache(maxsize=256)
def _limit_weights(widths: tuple[int, ...]) -> Floats:
    m = np.asarray(widths, np.float64)
    x = np.log(m)
    design = np.stack([np.ones_like(m), x - x.mean(), m**-0.5 - (m**-0.5).mean()], axis=1)
    return _kept(np.asarray(np.linalg.pinv(design)[1], np.float64))


@functools.lru_cache(maxsize=256)
def _bend_weights(widths: tuple[int, ...]) -> Floats:
    x = np.log(np.asarray(widths, np.float64))
    centred = x - x.mean()
    parabola = np.linalg.pinv(np.stack([np.ones_like(x), centred, centred**2], axis=1))
    return _kept(np.asarray(2 * (x[-1] - x[0]) * parabola[2], np.float64))


def _kept(weights: Floats) -> Floats:
    """Weights that are returned again, so nobody may change them."""
    weights.flags.writeable = False
    return weights


def finite_width_bias(widths: Sequence[int], kappa: float = KAPPA) -> float:
    """B: how far terms of the next order move the slope of A m^p (1 + k m^(-1/2)), |k| <= kappa.

    >>> round(finite_width_bias((128, 256, 512, 1024)), 3)
    0.062
    """
    return _bias(slope_weights(widths), widths, kappa)


def finite_width_bend(widths: Sequence[int], kappa: float = KAPPA) -> float:
    """Bend by such terms: the largest change of the local slope from the first width to the last.

    >>> round(finite_width_bend((128, 256, 512, 1024)), 3)
    0.071
    """
    return _bias(bend_weights(widths), widths, kappa)


def toward(
    value: float, bend: Contrast, widths: Sequence[int], band: tuple[float, float], error: float
) -> bool:
    """Whether a slope outside a band moves toward it by more than terms of the next order can bend it.

    Then the size is not a power of m at these widths, and has another slope at larger ones.

    Args:
        value: The slope.
        bend: Change of the local slope over the widths.
        widths: m.
        band: Lower and upper end.
        error: Error probability of a bound of the bend.
    """
    low, high = bend.bounds(error)
    most = finite_width_bend(widths)
    return (value > band[1] and high < -most) or (value < band[0] and low > most)


def _bias(weights: Floats, widths: Sequence[int], kappa: float) -> float:
    m = np.asarray(widths, np.float64)
    # A width below kappa^2 has no bound: the term may cancel the leading one.
    with np.errstate(divide="ignore", invalid="ignore"):
        shifts = [weights @ np.log(1 + sign * kappa * m**-0.5) for sign in (1.0, -1.0)]
    return max(abs(float(shift)) if np.isfinite(shift) else math.inf for shift in shifts)


def _combined(value: float, parts: Sequence[tuple[float, float]]) -> Contrast:
    """From (variance, degrees of freedom) of independent parts."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return Contrast(value, 0.0, math.inf)
    if math.isinf(total):
        return Contrast(value, math.inf, 1.0)
    return Contrast(
        value, math.sqrt(total), total**2 / sum(variance**2 / df for variance, df in parts if variance > 0)
    )
