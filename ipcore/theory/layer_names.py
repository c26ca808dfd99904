"""Layers in words."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ipcore.theory.exponents import power


def ranges(layers: Sequence[int]) -> str:
    """Ascending layer numbers, in short where they are consecutive.

    >>> ranges([1, 2, 3]), ranges([1, 2, 4])
    ('1..3', '1, 2, 4')
    """
    if len(layers) > 2 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}..{layers[-1]}"
    return ", ".join(map(str, layers))


def layers_by_order(changes: Sequence[Fraction]) -> str:
    """Which hidden layers change by which power of the width.

    Args:
        changes: Exponents of layers 1..L.

    >>> layers_by_order([Fraction(0), Fraction(0), Fraction(-1, 2)])
    'layers 1, 2 by order 1, layer 3 by m^(-1/2)'
    """
    texts = []
    for change in sorted(set(changes), reverse=True):
        layers = [i for i, entry in enumerate(changes, start=1) if entry == change]
        order = "order 1" if change == 0 else power(change)
        texts.append(f"{'layer' if len(layers) == 1 else 'layers'} {ranges(layers)} by {order}")
    return ", ".join(texts)
