"""The calculus for ReLU, written again from its rules without the package, as an oracle for small cases."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

NOTHING = Fraction(-(10**9))


def brute_force(
    a: Sequence[Fraction],
    b: Sequence[Fraction],
    c: Sequence[Fraction],
    *,
    c_first: Sequence[Fraction] | None = None,
    steps: int = 12,
    sign: bool = False,
    mse: bool = False,
    normalized: bool = False,
) -> list[tuple[list[Fraction], list[Fraction]]]:
    """Exponents (h^1..h^L, f) and of their changes after 0, 1, .. `steps` updates, ReLU, no biases.

    Stops where sizes repeat, and after the first step at which a preactivation grows (with mse, the output).
    With `normalized` activations see h / |h|, so that hidden preactivations may grow.
    """
    layers = len(a)
    s = [x + y for x, y in zip(a, b, strict=True)]
    half, zero = Fraction(1, 2), Fraction(0)
    h0: list[Fraction] = []
    for i in range(layers):
        h0.append(-s[i] if i == 0 else -s[i] + half + (zero if normalized else h0[-1]))
    added = [NOTHING] * layers
    records = [(h0, [NOTHING] * layers)]
    h = h0
    for step in range(steps):
        df = max(zero, h[-1]) if mse else zero
        dh = [zero] * layers
        dh[-1] = df
        for i in range(layers - 1, 0, -1):
            last = i == layers - 1
            dh[i - 1] = dh[i] + max(-s[i] + (0 if last else half), added[i] + (0 if last else 1))
            if normalized:
                dh[i - 1] -= h[i - 1]
        rates = c_first if c_first is not None and step == 0 else c
        before = list(added)
        for i in range(layers):
            x = zero if normalized or i == 0 else h[i - 1]
            gradient = -a[i] if sign else -2 * a[i] + dh[i] + x
            added[i] = max(added[i], gradient - rates[i])
        change: list[Fraction] = []
        new: list[Fraction] = []
        for i in range(layers):
            own = added[i] + (1 + (zero if normalized else new[-1]) if i else 0)
            passed = NOTHING if i == 0 else change[-1] - s[i] + (1 if i == layers - 1 else half)
            if normalized and i:
                passed -= new[-1]
            change.append(max(own, passed))
            new.append(max(h0[i], change[-1]))
        h = new
        records.append((h, change))
        grown = h[-1:] if normalized else h
        if max((grown if mse else grown[:-1]), default=zero) > 0 or (step > 0 and added == before):
            break
    return records


def stable(records: list[tuple[list[Fraction], list[Fraction]]]) -> bool:
    """Whether nothing grows with the width in the examined steps."""
    return all(max(h) <= 0 for h, _ in records)
