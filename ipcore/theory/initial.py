"""The network without its updates: what the initial weights alone make of the input."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from ipcore.theory.activation import Activation
from ipcore.theory.maxplus import Size, inverse, largest, times
from ipcore.theory.parameterization import Parameterization

_HALF: Final = Fraction(1, 2)
_ONE: Final = Fraction(1)
_ZERO: Final = Fraction(0)


def without_updates(
    p: Parameterization,
    phi: Activation,
    bias0: Sequence[Size],
    k: Sequence[Size],
    skips: Sequence[int | None],
    *,
    normalized: bool = False,
) -> list[Size]:
    """Sizes of W_0^l x^{l-1} (no bias), with what a skip connection adds, in a network without any update.

    Central limit theorem, layer by layer (Yang & Hu, arXiv:2011.14522, section 3); with re-weighted matrices
    every layer acts on what is left below it (ours, docs/theory.md).

    Args:
        p: The parameterization.
        phi: The activation.
        bias0: Sizes of the initial biases, L+1 entries; None: no bias.
        k: Initial matrices count m^{-k}, L+1 entries; 0: as at step 0, None: removed.
        skips: Index of the layer whose preactivation is added, L+1 entries; None: none is.
        normalized: Whether preactivations are normalized before they enter phi.

    Returns:
        L+1 exponents; None where nothing is left.
    """
    signals: list[Size] = []
    x: Size = None
    mean: Size = None
    for i in range(p.hidden_layers + 1):
        weight = times(-(p.a[i] + p.b[i]), inverse(k[i]))
        if i == 0:
            signal = weight
        else:
            signal = times(weight, _HALF, x)
            if p.mean is not None:
                # Weights with a mean also add up the mean of their input.
                signal = largest(signal, times(weight, _ONE, mean))
        source = skips[i]
        if source is not None:
            signal = largest(signal, signals[source], bias0[source])
        signals.append(signal)
        h = largest(signal, bias0[i])
        if normalized and h is not None:
            h = _ZERO
        x = phi.size(h)
        # From the second layer on, weights with a mean give all neurons the same part.
        mean = phi.mean_size(h) if i == 0 else x
    return signals
