"""Infinite width where a width is a number: the store, the API, sorted columns."""

from __future__ import annotations

import math
from typing import Final

# The largest width that a message can hold: it sorts after all others, and no network has it.
INFINITE_WIDTH: Final = 2**31 - 1
# A network that takes the place of infinite width is at least this many times wider than those compared.
TIMES_WIDER: Final = 16


def width_of(number: int) -> float:
    """A width as a number: infinity where a message means infinite width.

    >>> width_of(128), width_of(2**31 - 1)
    (128, inf)
    """
    return math.inf if number == INFINITE_WIDTH else number


def plain_width(width: float) -> int | str:
    """A width in JSON, which has no infinity.

    >>> plain_width(128), plain_width(math.inf)
    (128, 'inf')
    """
    return "inf" if math.isinf(width) else int(width)
