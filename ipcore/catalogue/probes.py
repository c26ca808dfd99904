"""Probes: quantities measured inside the networks; definitions, formulas and costs in docs/probes.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ipcore.catalogue.entries import table


@dataclass(frozen=True, slots=True)
class Probe:
    """Quantities that are measured together.

    Attributes:
        name: Name in specs.
        description: One line.
        implementation: Object of type `ipcore.probes.definition.Definition`, as "module:name".
        least_examples: Number of examples that it needs at least.
        chains_only: Whether it is defined only for multilayer perceptrons.
        of_outputs: Whether it looks at outputs on the test set alone.
        beside: What trains beside the networks to be compared with them, as "module:name"; "": nothing does.
    """

    name: str
    description: str
    implementation: str
    least_examples: int = 1
    chains_only: bool = False
    of_outputs: bool = False
    beside: str = ""


PROBES: Final[Mapping[str, Probe]] = table(
    (
        Probe(
            "coordinates",
            "sizes of h and x, and of their changes since step 0",
            "ipcore.probes.coordinates:COORDINATES",
        ),
        Probe(
            "parts",
            "sizes of the parts of a layer's change: passed on from below, its own updates",
            "ipcore.probes.parts:PARTS",
            chains_only=True,
        ),
        Probe(
            "gradients",
            "sizes of derivatives, gradients and updates",
            "ipcore.probes.gradients:GRADIENTS",
        ),
        Probe(
            "alignment",
            "log alignment ratios of matrices and their inputs",
            "ipcore.probes.alignment:ALIGNMENT",
        ),
        Probe(
            "ranks",
            "ranks of updates and of activations",
            "ipcore.probes.ranks:RANKS",
        ),
        Probe(
            "kernels",
            "movement of the feature kernel since step 0",
            "ipcore.probes.kernels:KERNELS",
            least_examples=2,
        ),
        Probe(
            "isolated_updates",
            "changes of a layer by one update of its own from step 0, at the rate of each step",
            "ipcore.probes.isolated:ISOLATED",
        ),
        Probe(
            "outputs",
            "signed sums of the outputs on the test set, from which distances between runs follow",
            "ipcore.probes.outputs:OUTPUTS",
            of_outputs=True,
        ),
        Probe(
            "paired_outputs",
            "distance of the outputs from a kernel machine that starts from the network's own f_0 (NTK)",
            "ipcore.probes.paired:PAIRED",
            of_outputs=True,
            beside="ipcore.limits.paired:PairedMachines",
        ),
    )
)
