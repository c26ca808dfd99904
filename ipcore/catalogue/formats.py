"""Number formats for training, and the ranges that they can represent."""

from __future__ import annotations

from typing import Final, NamedTuple


class Range(NamedTuple):
    """Positive numbers that a number format holds in full precision, with room for products of order 1."""

    least: float
    largest: float

    def __str__(self) -> str:
        return f"{self.least:g} .. {self.largest:g}"


# Multipliers, initial sizes and rates in these ranges have full precision, and so have their products with
# normals and with the constants of `ipcore.models.scales.role_constants` (IEEE 754 binary32: 1.2e-38 ..
# 3.4e38; binary64: 2.2e-308 .. 1.8e308).
SINGLE: Final = Range(1e-36, 1e36)
DOUBLE: Final = Range(1e-300, 1e300)


def fits(scale: float, held: Range = SINGLE) -> bool:
    """Whether a scale is positive and can be trained with in a number format, 32-bit numbers by default.

    >>> fits(1e30), fits(1e-40), fits(float("inf"))
    (True, False, False)
    """
    return held.least <= scale <= held.largest
