"""Widths as text: computed ones are rounded to significant digits."""

from __future__ import annotations

import math
from typing import Final

_LARGE: Final = 1e6


def width_text(width: float, digits: int = 2) -> str:
    """A width of any size, in few digits.

    >>> width_text(833.7), width_text(16_384.3, 3), width_text(2.5e13), width_text(math.inf)
    ('830', '16,400', '2.5e+13', 'inf')
    """
    if not math.isfinite(width):
        return "inf"
    if width >= _LARGE or width < 1:
        return f"{width:.{digits}g}"
    return f"{float(f'{width:.{digits}g}'):,.0f}"
