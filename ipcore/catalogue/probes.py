"""Probes: what is measured inside the networks; definitions, formulas and costs in docs/probes.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ipcore.catalogue.choices import Choice
from ipcore.catalogue.entries import table

PROBES: Final[Mapping[str, Choice]] = table(
    (
        Choice("coordinates", "sizes of h and x, and of their changes since step 0"),
        Choice("parts", "sizes of the parts of a layer's change: passed on from below, its own updates"),
        Choice("gradients", "sizes of derivatives, gradients and updates"),
        Choice("alignment", "log alignment ratios of matrices and their inputs"),
        Choice("ranks", "ranks of updates and of activations"),
        Choice("kernels", "movement of the feature kernel since step 0"),
    )
)
