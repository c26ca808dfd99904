"""Names of measured quantities, with their probes and layers. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ipcore.catalogue import OPTIMIZERS, PROBES
from ipcore.catalogue.entries import implementation
from ipcore.config import Probes
from ipcore.models import MLP, Mlp, Model
from ipcore.probes.definition import Definition, Quantity


def definition(probe: str) -> Definition:
    """Definition of a probe, by its name in the catalogue."""
    found: Definition = implementation(PROBES[probe].implementation)
    return found


# By probe, in the order in which they are recorded.
QUANTITIES: Final[Mapping[str, tuple[Quantity, ...]]] = {
    probe: definition(probe).quantities for probe in PROBES
}


def asked(probes: Probes) -> tuple[Definition, ...]:
    """Definitions of the requested probes, in the catalogue's order."""
    return tuple(definition(probe) for probe in PROBES if probe in probes.quantities)


def with_companions(probes: Probes, optimizer: str, model: Model = MLP) -> Probes:
    """Probes, with those that checks of coordinates and isolated updates need besides.

    Sizes of coordinates are compared with theory. The parts of their changes, which multilayer perceptrons
    have, show which exponents can be seen at the measured widths; gradients show whether Adam's epsilon
    matters there.

    >>> with_companions(Probes(("coordinates",)), "adamw").quantities
    ('coordinates', 'parts', 'gradients')
    >>> with_companions(Probes(("ranks",)), "adamw").quantities
    ('ranks',)
    """
    needed: list[str] = []
    if "coordinates" in probes.quantities and isinstance(model, Mlp):
        needed += ["parts"] if not probes.layers or max(probes.layers) > 1 else []
    if {"coordinates", "isolated_updates"} & {*probes.quantities} and isinstance(model, Mlp):
        needed += ["gradients"] if OPTIMIZERS[optimizer].has_epsilon else []
    added = [name for name in needed if name not in probes.quantities]
    return replace(probes, quantities=(*probes.quantities, *added))


def inside(probes: Probes | None) -> Probes | None:
    """The probes that measure inside the networks; None: there are none.

    >>> inside(Probes(("outputs",))), inside(Probes(("ranks", "outputs"))).quantities
    (None, ('ranks',))
    """
    if probes is None:
        return None
    outside = {name for name, probe in PROBES.items() if probe.of_outputs}
    kept = tuple(name for name in probes.quantities if name not in outside)
    return replace(probes, quantities=kept) if kept else None


def probe_layers(probes: Probes, count: int) -> range | tuple[int, ...]:
    """The layers that are measured, ascending, of networks with this many weight matrices."""
    return tuple(sorted(set(probes.layers))) or range(1, count + 1)


def probe_names(probes: Probes | None, count: int) -> tuple[str, ...]:
    """Metrics that probes record, by quantity and layer, of networks with this many weight matrices.

    >>> probe_names(Probes(("coordinates", "kernels"), layers=(2, 3)), count=3)
    ('h/2', 'h/3', 'x/2', 'h_change/2', 'h_change/3', 'x_change/2', 'cka/2')
    """
    if probes is None:
        return ()
    layers = probe_layers(probes, count)
    return tuple(
        name
        for chosen in asked(probes)
        for name in (
            *(
                f"{quantity.name}/{layer}"
                for quantity in chosen.quantities
                for layer in layers
                if layer in quantity.layers(count)
            ),
            *chosen.metrics,
        )
    )
