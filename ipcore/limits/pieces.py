"""Inputs in pieces, so that an evaluation at many inputs needs little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from torch import Tensor

# Inputs at once.
PIECE: Final = 512


def pieces(x: Tensor, most: int = PIECE) -> Iterator[Tensor]:
    """Rows of x, at most so many at a time."""
    for start in range(0, len(x), most):
        yield x[start : start + most]
