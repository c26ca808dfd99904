"""Ticks of axes and the room that their labels take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ipcore.figures.layout.texts import inches, text_width
from ipcore.figures.series import superscript

# From so many decades on a logarithmic axis has ticks at these digits; at later ones if these give too few.
_DIGITS: Final = (
    (2.5, (1,)),
    (1.5, (1, 3)),
    (0.5, (1, 2, 5)),
    (0.25, (1, 1.5, 2, 3, 5, 7)),
    (0.0, (1, 1.2, 1.4, 1.6, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)),
)

Ticks = dict[float, str]


def log_ticks(low: float, high: float, base: int = 10) -> Ticks:
    """At least two ticks of a logarithmic axis, at 1, 2, 5 of a decade where decades are few.

    Args:
        low: Lower end of the axis.
        high: Upper end.
        base: 10, or 2: whole or broken powers of two, written as powers.

    Returns:
        Their labels by place.
    """
    if base == 2:
        span = np.log2(high / low)
        step = next((s for s in (0.25, 0.5, 1, 2, 4, 8, 16) if span / s <= 5), 32)
        first, last = int(np.ceil(np.log2(low) / step)), int(np.floor(np.log2(high) / step))
        return {2.0 ** (step * n): f"$2^{{{step * n:g}}}$" for n in range(first, last + 1)}
    decades = np.log10(high / low)
    powers = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
    places: list[float] = []
    for digits in (digits for least, digits in _DIGITS if decades >= least):
        places = [d * 10.0**p for p in powers for d in digits if low <= d * 10.0**p <= high]
        if len(places) >= 2:
            break
    else:  # a few per cent in all
        places = [float(x) for x in np.geomspace(low, high, 6)[1:-1:3]]
    if len(places) > 6:
        places = places[:: -(-len(places) // 6)]
    return {place: _power(place) for place in places}


def linear_ticks(low: float, high: float) -> Ticks:
    """Round ticks of a linear axis with their labels."""
    places = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return {float(x): f"{x:.6g}".replace("-", "−") for x in places if low <= x <= high}


def fitting(ticks: Ticks, axes: Axes) -> Ticks:
    """The ticks of a linear horizontal axis whose labels fit."""
    low, high = axes.get_xlim()
    inch = inches(axes)[0] / (high - low)
    places = list(ticks)
    for every in range(1, len(ticks) + 1):
        kept = {place: ticks[place] for place in places[::every]}
        gaps = [(b - a) * inch for a, b in pairwise(kept)]
        if max(map(text_width, kept.values())) + 0.08 <= min(gaps, default=np.inf):
            return kept
    return ticks


def set_ticks(axis: Axis, ticks: Ticks) -> None:
    """These ticks and no others."""
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: ticks.get(value, "")))


def room_for(*ticks: Ticks) -> float:
    """Width of the labels of a vertical axis to its left, in inches."""
    return max((text_width(text) for each in ticks for text in each.values()), default=0.0) + 0.1


def width_ticks(axes: Axes, widths: Sequence[float]) -> None:
    """Ticks at the widths, as many as have room."""
    shown = sorted(widths)
    room = inches(axes)[0]
    low, high = axes.get_xlim()
    span = np.log(high / low)
    kept: list[float] = []
    for value in reversed(shown):  # the largest is the one that counts
        if not kept or room * np.log(kept[-1] / value) / span > text_width(f"{value:g}") + 0.07:
            kept.append(value)
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(FixedLocator(shown))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _power(value: float) -> str:
    """A number on a logarithmic axis: "0.02", "500", "10⁻⁴", "3·10⁻⁴"."""
    if 1e-3 <= value < 1e4:
        return f"{value:.4g}"
    exponent = int(np.floor(np.log10(value) + 1e-9))
    digit = value / 10.0**exponent
    power = f"10{superscript(exponent)}"
    return power if abs(digit - 1) < 1e-6 else f"{digit:.3g}·{power}"
