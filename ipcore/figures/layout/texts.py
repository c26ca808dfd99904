"""Sizes of texts, and line breaks that fit them into a width."""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from ipcore.figures.style import SMALL

BOLD: Final = 1.15  # how much wider bold letters are

LINE: Final = 1.3  # height of a line of text, in font sizes


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float = SMALL) -> float:
    """Width of a line of text, in inches."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text, prop=FontProperties(family="DejaVu Sans", size=size))
    # The points that define the outlines: hardly any letter has one beyond its edge, and to find the edges of
    # the curves takes ten times as long.
    x = path.vertices[path.codes != Path.CLOSEPOLY, 0]
    # Letters are set on whole pixels on a screen, which takes a little more.
    return float(np.ptp(x)) / 72 * 1.06


def wrapped(text: str, width: float, size: float) -> str:
    """A text in as many lines as it needs to be at most `width` inches wide; words are not broken."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def inches(axes: Axes) -> tuple[float, float]:
    """Width and height of the axes in inches."""
    return axes.bbox.width / axes.figure.get_dpi(), axes.bbox.height / axes.figure.get_dpi()
