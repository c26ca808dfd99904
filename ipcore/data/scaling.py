"""Pixels to inputs: (value - mean) / standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.data.dataset import Pixels

# Rows at a time: look-ups need an index of eight bytes for each pixel of them.
_ROWS: Final = 256


def normalize(values: npt.NDArray[np.floating], constants: tuple[float, float]) -> npt.NDArray[np.float32]:
    """(values - mean) / std for `constants` = (mean, std); computed in double precision, then rounded."""
    mean, std = constants
    return ((values - mean) / std).astype(np.float32)


def scale_pixels(
    pixels: npt.NDArray[np.uint8], constants: tuple[float, float], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Inputs of pixels 0..255: `normalize` of pixel / 255.

    A table of the 256 values gives the same numbers as the formula, without a large array of doubles.

    Args:
        pixels: Any shape.
        constants: Mean and standard deviation of pixel / 255.
        out: Where to put them, of the same shape; None: a new array.

    Returns:
        The inputs, of the same shape.
    """
    table = normalize(np.arange(256) / 255, constants)
    inputs = np.empty(pixels.shape, dtype=np.float32) if out is None else out
    for start in range(0, len(pixels), _ROWS):
        inputs[start : start + _ROWS] = table[pixels[start : start + _ROWS]]
    return inputs


def as_pixels(
    values: npt.NDArray[np.uint8], constants: Sequence[tuple[float, float]], largest: int = 255
) -> Pixels:
    """Bytes 0..largest with the scale and shift that normalize them: value / (largest std) - mean / std.

    Args:
        values: (n, d); d is a multiple of the number of channels, which lie one after another.
        constants: Mean and standard deviation of value / largest, per channel.
        largest: The byte that means 1.
    """
    size = values.shape[1] // len(constants)
    scale = np.repeat([1 / (largest * std) for _, std in constants], size)
    shift = np.repeat([-mean / std for mean, std in constants], size)
    return Pixels(np.ascontiguousarray(values), scale.astype(np.float32), shift.astype(np.float32))
