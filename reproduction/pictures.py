"""From results to figures (`ipcore.figures`), and their texts as SVG, which depend on the numbers alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from ipcore.analysis import RateTransfer, Slope, Verdict
from ipcore.figures import AtRate, Law, Picture, RateCurve, Role, Size, mean
from reproduction.study import Measured


def svg(picture: Picture) -> str:
    """The picture's text."""
    return picture.encoded(".svg").decode()


def law(
    name: str,
    fit: Slope,
    theory: Fraction | None = None,
    verdict: Verdict | None = None,
    *,
    role: Role = Role.ORDERED,
    upper_bound: bool = False,
) -> Law:
    """A measured power of the width beside theory's."""
    sizes = tuple(Size(m, s.value, s.low, s.high) for m, s in zip(fit.widths, fit.sizes, strict=True))
    return Law(
        name,
        sizes,
        fit.slope.value,
        fit.slope.low,
        fit.slope.high,
        theory,
        upper_bound=upper_bound,
        verdict="" if verdict is None else str(verdict),
        role=role,
    )


def rate_curve(
    name: str, runs: Sequence[Measured], transfer: RateTransfer | str | None = None, key: int = 0
) -> RateCurve:
    """Test loss against the base rate, with the best rate of `transfer` at its width or depth `key`.

    A rate at which a run has no loss has a cross: it diverged.
    """
    points = []
    for rate in sorted({run.rate for run in runs}):
        losses = [run.values.get("test_loss", math.nan) for run in runs if run.rate == rate]
        points.append(at_rate(rate, losses, geometric=True))
    if transfer is None or isinstance(transfer, str):
        return RateCurve(name, tuple(points))
    place = transfer.widths.index(key)
    best = transfer.best[place]
    low, high = transfer.ends[place] if transfer.ends else (None, None)
    return RateCurve(name, tuple(points), best, low, high, edge=best in (points[0].rate, points[-1].rate))


def at_rate(rate: float, values: Iterable[float], *, geometric: bool) -> AtRate:
    """The mean over seeds at a base rate; a value that is not finite is a run that diverged."""
    listed = list(values)
    lost = sum(not math.isfinite(value) for value in listed)
    if lost:
        return AtRate(rate, None, diverged=lost)
    found = mean(listed, geometric=geometric)
    return AtRate(rate, found.value, found.low, found.high)
