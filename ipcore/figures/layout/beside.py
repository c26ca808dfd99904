"""Texts beside the ends of lines, pushed apart where they would touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ipcore.figures.layout.texts import inches
from ipcore.figures.style import SMALL


def labels_beside(axes: Axes, labels: Sequence[tuple[float, str, str]], x: float) -> None:
    """Texts to the right of the axes at given heights, pushed apart where they would touch.

    Args:
        axes: With their limits set.
        labels: Height in data, text, colour.
        x: Where in the data the lines end; a thin line leads from there to a text that was moved.
    """
    if not labels:
        return
    wide, tall = inches(axes)
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = np.array([to_axes.transform((x, y))[1] for y, _, _ in labels])
    end = float(to_axes.transform((x, labels[0][0]))[0])
    need = 1.12 * SMALL / 72 / tall
    places = _apart(wanted, need, 0.35 * need, 1 - 0.35 * need)
    for (_, text, colour), at, place in zip(labels, wanted, places, strict=True):
        start = 1 + 0.06 / wide
        axes.text(
            start, place, text, transform=axes.transAxes, ha="left", va="center", fontsize=SMALL, color=colour
        )
        axes.plot(
            [end, 1 + 0.04 / wide], [at, place], transform=axes.transAxes, color=colour, linewidth=0.4,
            clip_on=False, zorder=1,
        )  # fmt: skip


def _apart(wanted: Any, need: float, low: float, high: float) -> list[float]:
    """Heights near those wanted, in their order, at least `need` apart and within bounds if they can be."""
    order = np.argsort(wanted, kind="stable")
    # Least squares under "ascending by need": pool neighbours that would overlap (isotonic regression).
    blocks: list[list[float]] = []
    for i, at in enumerate(np.asarray(wanted)[order]):
        blocks.append([float(at) - i * need, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2], blocks[-1]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    flat = [value for value, count in blocks for _ in range(int(count))]
    last = high - (len(flat) - 1) * need
    placed = [min(max(value, low), max(last, low)) + i * need for i, value in enumerate(flat)]
    result = [0.0] * len(placed)
    for position, value in zip(order, placed, strict=True):
        result[int(position)] = value
    return result
