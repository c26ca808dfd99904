"""A forward pass in the calculus: exponents of all preactivations and of their parts."""

from __future__ import annotations

from dataclasses import dataclass

from ipcore.theory.maxplus import Size, largest


@dataclass(frozen=True, slots=True)
class Sizes:
    """A forward pass. Each tuple has L+1 entries: h^1..h^L and, last, the output f. None: exactly zero.

    Attributes:
        step: Updates done before it.
        h: e(h_t).
        change: e(h_t - h_0); None at step 0.
        from_below: The part of the change that W_0 passes on from the layer below, or a skip connection.
        from_update: The part that the updates of the layer's own matrix add.
        from_bias: The part that the updates of its bias add.
        from_removal: The part that re-weighting the initial matrices takes away, here or below.
        normalized: Whether h^1..h^L are normalized, so that nothing above them sees their sizes.
    """

    step: int
    h: tuple[Size, ...]
    change: tuple[Size, ...]
    from_below: tuple[Size, ...]
    from_update: tuple[Size, ...]
    from_bias: tuple[Size, ...]
    from_removal: tuple[Size, ...]
    normalized: bool = False

    @property
    def seen(self) -> tuple[Size, ...]:
        """Sizes whose growth the network's function shows: h^1..h^L unless normalized, f."""
        return self.h[-1:] if self.normalized else self.h

    def learned(self, layer: int) -> Size:
        """The change at index `layer` without the part removed by re-weighting."""
        return largest(self.from_below[layer], self.from_update[layer], self.from_bias[layer])
