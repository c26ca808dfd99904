"""The network without updates: sizes from the initial weights alone."""

from __future__ import annotations

from collections.abc import Sequence

from ipcore.theory.maxplus import Size, inverse, largest, times
from ipcore.theory.rules import Rules
from ipcore.theory.units import Unit


def without_updates(
    unit: Unit,
    rules: Rules,
    weights: Sequence[Size],
    bias0: Sequence[Size],
    k: Sequence[Size],
    skips: Sequence[int | None],
    *,
    mean: bool,
) -> list[Size]:
    """Sizes of W_0^l x^{l-1} (no bias), with what a skip connection adds, in a network without any update.

    Central limit theorem, layer by layer (Yang & Hu, arXiv:2011.14522, section 3); with re-weighted matrices
    every layer acts on the remainder below it (ours, docs/theory.md).

    Args:
        unit: In which exponents are counted.
        rules: The activation, and whether preactivations are normalized before they enter it.
        weights: Exponents of the entries of the initial matrices, -(a_l + b_l); L+1 of them, as of all else.
        bias0: Sizes of the initial biases; None: no bias.
        k: Initial matrices count m^{-k}, L+1 entries; 0: as at step 0, None: removed.
        skips: Index of the layer whose preactivation is added, L+1 entries; None: none is.
        mean: Whether initial weights have a mean as large as their standard deviation.

    Returns:
        L+1 exponents; None where nothing is left.
    """
    phi, signals = rules.activation, list[Size]()
    x: Size = None
    x_mean: Size = None
    for i, weight in enumerate(weights):
        left = times(weight, inverse(k[i]))
        if i == 0:
            signal = left
        else:
            signal = times(left, unit.half, x)
            if mean:
                # Weights with a mean also add up the mean of their input.
                signal = largest(signal, times(left, unit.one, x_mean))
        source = skips[i]
        if source is not None:
            signal = largest(signal, signals[source], bias0[source])
        signals.append(signal)
        h = rules.seen(largest(signal, bias0[i]))
        x = phi.size(h)
        # From the second layer on, weights with a mean give all neurons the same part.
        x_mean = phi.mean_size(h) if i == 0 else x
    return signals
