"""Functions of one variable, x uniform in [-1, 1]; the targets are real numbers.

============  =====================
``sine``      sin(2 pi x)
``step``      sign(x)
``abs``       |x|
``square``    x^2
``cubic``     x^3
``runge``     1 / (1 + 25 x^2)
============  =====================

Training targets carry normal noise; test targets do not, so the test loss is the distance to the function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.catalogue.families import FUNCTIONS, Member
from ipcore.data.dataset import Dataset, Split
from ipcore.randomness import generator

Floats = npt.NDArray[np.float64]

FORMULAS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "sine": lambda x: np.sin(2 * np.pi * x),
    "step": np.sign,
    "abs": np.abs,
    "square": np.square,
    "cubic": lambda x: x * x * x,
    "runge": lambda x: 1 / (1 + 25 * x * x),
}
if set(FORMULAS) != set(FUNCTIONS):
    raise RuntimeError("ipcore.catalogue.families and ipcore.data.functions name different functions")


def load(member: Member) -> Dataset:
    """Draw a dataset of the family "function"."""
    return Dataset(member.name, _split(member, "train", member.number("noise")), _split(member, "test", 0), 0)


def _split(member: Member, part: str, noise: float) -> Split:
    seed, n = member.integer("seed"), member.integer("n" if part == "train" else "test")
    x = generator(seed, "function", part, "inputs").uniform(-1, 1, (n, 1)).astype(np.float32)
    # Targets are those of the rounded inputs, as stored.
    y = FORMULAS[str(member.values["f"])](x.astype(np.float64))
    if noise:
        y = y + noise * generator(seed, "function", part, "noise").standard_normal((n, 1))
    return Split(x, y.astype(np.float32))
