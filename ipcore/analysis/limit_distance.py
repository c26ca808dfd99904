"""How far networks of finite width are from a limit: distance, variance, bias, and the width needed.

With outputs f_m of S seeds at width m, and a limit f estimated by R replicas, relative to |f|^2:

    D^2 = mean over seeds |f_m - f|^2 - V_ref / R          the mean square distance
    V   = variance of f_m over seeds                       the part that an ensemble averages away
    b^2 = |mean f_m - f|^2 - V / S - V_ref / R             the rest: D^2 = V + b^2 up to noise

V_ref is the variance of the replicas: the limit's own error is taken out. A line through log D against log m
has slope -1/2 where V ~ 1/m leads. m*(eps) is the smallest width on that line with D <= eps. Intervals are
over seeds (`ipcore.analysis.resampling`), which are resampled at each width on their own: networks of
different widths share no weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.analysis.intervals import Estimate
from ipcore.analysis.resampling import DRAWS, estimate, resamples
from ipcore.analysis.slopes import MIN_WIDTHS
from ipcore.analysis.widths import width_text
from ipcore.errors import AnalysisError

Floats = npt.NDArray[np.float64]
# A relative distance is meaningless if the limit is this small compared with its own error.
_NEAR_ZERO: Final = 2.0


@dataclass(frozen=True, slots=True)
class WidthDistance:
    """One width beside the limit. All numbers are relative to |f|, or absolute root mean squares.

    Attributes:
        width: m.
        seeds: S.
        distance: D, with its interval over seeds; 0 where the limit's own error explains all of it.
        variance: V.
        bias: b^2; may be negative, as an unbiased estimate of a small number is.
    """

    width: int
    seeds: int
    distance: Estimate
    variance: float
    bias: float


@dataclass(frozen=True, slots=True)
class NeededWidth:
    """The width at which a distance is reached.

    Attributes:
        distance: eps.
        width: m*, with its interval over seeds.
        extrapolated: Whether m* lies outside the widths measured.
    """

    distance: float
    width: Estimate
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class LimitDistance:
    """Widths beside their limit.

    Attributes:
        widths: Ascending.
        slope: Slope of log D against log m.
        end: Slope between the two largest widths.
        relative: Whether distances are relative to |f|.
        limit_error: The limit's own root mean square error, in the same unit.
        needed: The requested widths.
    """

    widths: tuple[WidthDistance, ...]
    slope: Estimate
    end: Estimate
    relative: bool
    limit_error: float
    needed: tuple[NeededWidth, ...]

    @property
    def sentence(self) -> str:
        """The answer first."""
        last = self.widths[-1]
        unit = "" if self.relative else " (absolute)"
        said = [
            f"At width {last.width:,} the distance to the limit is {last.distance}{unit}; it falls like m to "
            f"the power {self.slope}, between the two largest widths {self.end}."
        ]
        for needed in self.needed:
            how = " (extrapolated)" if needed.extrapolated else ""
            star, low, high = (
                width_text(one, 3) for one in (needed.width.value, needed.width.low, needed.width.high)
            )
            said.append(f"{needed.distance:g} is reached at width {star} [{low}, {high}]{how}.")
        return " ".join(said)


def limit_distance(
    outputs: Mapping[int, npt.ArrayLike],
    limit: npt.ArrayLike,
    *,
    needed: tuple[float, ...] = (),
    relative: bool = True,
) -> LimitDistance:
    """Distances of networks to a limit.

    Args:
        outputs: By width: outputs of every seed on the same inputs, (S, ...) with S >= 2.
        limit: Outputs of every replica, (R, ...) with R >= 2; (1, ...) where the limit is exact.
        needed: Distances eps > 0 for which a width is wanted.
        relative: Whether distances are relative to |f|; else they are root mean squares over outputs.

    Raises:
        AnalysisError: Fewer than three widths, one seed, a limit that is 0 within its own error, or networks
            that are nearer to it than its own error.
    """
    replicas = _flat(limit)
    f, own = replicas.mean(axis=0), 0.0
    if len(replicas) > 1:
        own = float(replicas.var(axis=0, ddof=1).sum()) / len(replicas)
    unit = float(f @ f) if relative else float(f.size)
    if relative and is_zero(float(f @ f), own):
        raise AnalysisError(
            f"the limit is 0 within its own error ({math.sqrt(own):.2g}): a relative distance means nothing "
            "there; ask for absolute ones"
        )
    squares, found = dict[int, Floats](), []
    for width in sorted(outputs):
        values = _flat(outputs[width])
        if len(values) < 2 or values.shape[1] != f.size:
            raise AnalysisError(
                f"width {width} has outputs of shape {values.shape}; needs at least 2 seeds of {f.size} "
                "numbers"
            )
        squares[width] = ((values - f) ** 2).sum(axis=1) / unit
        variance = float(values.var(axis=0, ddof=1).sum()) / unit
        centre = values.mean(axis=0) - f
        bias = float(centre @ centre) / unit - variance / len(values) - own / unit
        found.append((width, variance, bias))
    return fit_distances(
        squares,
        {width: (variance, bias) for width, variance, bias in found},
        own=own / unit,
        needed=needed,
        relative=relative,
    )


def is_zero(square: float, own: float) -> bool:
    """Whether a limit of this squared size is 0 within its own squared error."""
    return square <= _NEAR_ZERO**2 * own


def fit_distances(
    squares: Mapping[int, npt.ArrayLike],
    parts: Mapping[int, tuple[float, float]],
    *,
    own: float,
    needed: tuple[float, ...] = (),
    relative: bool = True,
) -> LimitDistance:
    """As `limit_distance`, from sums instead of outputs.

    Args:
        squares: By width: |f_m - f|^2 of every seed, (S,); or parts that sum to it, (S, J), of J random
            directions that are the same at all widths. Intervals are then over these too.
        parts: By width: V and b^2.
        own: V_ref / R, in the unit of the squares.
        needed: Distances for which a width is wanted.
        relative: Whether distances are relative to |f|.
    """
    widths = sorted(squares)
    if len(widths) < MIN_WIDTHS:
        raise AnalysisError(f"a slope needs at least {MIN_WIDTHS} widths, not {len(widths)}; add widths")
    found = _of_widths(squares, parts, own)
    fewest = min(row.seeds for row in found.rows)
    x = np.log(np.array(widths, dtype=np.float64))
    y, z = np.array(found.logs), np.stack(found.drawn)
    line = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    slope, slopes = float(line @ y), line @ z
    last = x[-1] - x[-2]
    end = estimate(float(y[-1] - y[-2]) / last, (z[-1] - z[-2]) / last, fewest)
    return LimitDistance(
        found.rows,
        estimate(slope, slopes, fewest),
        end,
        relative,
        math.sqrt(own),
        tuple(_needed(eps, x, (y, slope), (z, slopes), fewest) for eps in needed),
    )


def width_distances(
    squares: Mapping[int, npt.ArrayLike], parts: Mapping[int, tuple[float, float]], *, own: float
) -> tuple[WidthDistance, ...]:
    """Distances alone, of any number of widths; the arguments are those of `fit_distances`."""
    return _of_widths(squares, parts, own).rows


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Distances by ascending width, with logarithms for the line through them.

    Attributes:
        rows: Distances at each width.
        logs: log D.
        drawn: log D of every resample of the seeds, (DRAWS,) each.
    """

    rows: tuple[WidthDistance, ...]
    logs: list[float]
    drawn: list[Floats]


def _of_widths(
    squares: Mapping[int, npt.ArrayLike], parts: Mapping[int, tuple[float, float]], own: float
) -> _Found:
    logs, drawn, rows = list[float](), list[Floats](), list[WidthDistance]()
    for width in sorted(squares):
        values = np.asarray(squares[width], dtype=np.float64)
        values = values.reshape(len(values), -1)
        seeds, directions = values.shape
        square = float(values.sum()) / seeds - own
        if not square > 0:
            raise AnalysisError(
                f"at width {width:,} networks are nearer to the limit than its own error "
                f"({math.sqrt(own):.2g}): use more particles or replicas, or leave the width out"
            )
        # Different draws at every width: a permutation of the same ones.
        order = np.random.default_rng([width, seeds]).permutation(DRAWS)
        shares = directions * resamples(directions) if directions > 1 else np.ones((DRAWS, 1))
        drawn_squares = ((resamples(seeds)[order] @ values) * shares).sum(axis=1)
        draws = (drawn_squares - own).clip(min=square * 1e-3)
        logs.append(math.log(square) / 2)
        drawn.append(np.log(draws) / 2)
        distance = estimate(math.sqrt(square), np.sqrt(draws), seeds)
        rows.append(WidthDistance(width, seeds, distance, *parts[width]))
    return _Found(tuple(rows), logs, drawn)


def _needed(
    eps: float, x: Floats, fit: tuple[Floats, float], drawn: tuple[Floats, Floats], seeds: int
) -> NeededWidth:
    """m* of the line, and of the lines of all draws."""
    (y, slope), (z, slopes) = fit, drawn
    if not eps > 0:
        raise AnalysisError(f"a distance to reach must be above 0, not {eps}")
    if slope >= 0:
        return NeededWidth(eps, Estimate(math.inf, math.inf, math.inf), extrapolated=True)
    log_width = x.mean() + (math.log(eps) - y.mean()) / slope
    falling = np.minimum(slopes, -1e-3)
    logs = estimate(log_width, x.mean() + (math.log(eps) - z.mean(axis=0)) / falling, seeds)
    width = Estimate(*(math.exp(min(value, 700.0)) for value in (logs.value, logs.low, logs.high)))
    outside = not math.exp(x[0]) <= width.value <= math.exp(x[-1])
    return NeededWidth(eps, width, extrapolated=outside)


def _flat(values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(len(array), -1)
