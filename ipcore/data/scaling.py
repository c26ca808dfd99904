"""Pixels to inputs: (value - mean) / standard deviation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def normalize(values: npt.NDArray[np.floating], constants: tuple[float, float]) -> npt.NDArray[np.float32]:
    """(values - mean) / std for `constants` = (mean, std); computed in double precision, then rounded."""
    mean, std = constants
    return ((values - mean) / std).astype(np.float32)


def pixel_table(constants: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Input of each of the 256 values of a pixel, for pixels scaled to 0..1; shape (256,).

    A look-up gives the same numbers as the formula, without a large double array.
    """
    return normalize(np.arange(256) / 255, constants)
