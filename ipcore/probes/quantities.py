"""What is measured, by name: which probe has it, and in which layers. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ipcore.catalogue import OPTIMIZERS
from ipcore.config import Probes
from ipcore.models import MLP, Model


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number per run and layer.

    Attributes:
        name: The metric of layer l is called "name/l".
        probe: Name in `ipcore.catalogue.PROBES` that asks for it.
        readout: Whether the last layer, the output, has it too.
        description: One line for people.
        first: The lowest layer that has it.
    """

    name: str
    probe: str
    readout: bool
    description: str
    first: int = 1

    def layers(self, count: int) -> range:
        """Layers that have it in a network of so many weight matrices."""
        return range(self.first, count + (1 if self.readout else 0))


# Means are over the fixed examples and the neurons (or entries); h^{L+1} is f.
QUANTITIES: Final = (
    Quantity("h", "coordinates", True, "mean |h_t^l|"),
    Quantity("x", "coordinates", False, "mean |x_t^l|"),
    Quantity("h_change", "coordinates", True, "mean |h_t^l - h_0^l|"),
    Quantity("x_change", "coordinates", False, "mean |x_t^l - x_0^l|"),
    Quantity("change_below", "parts", True, "mean |W_0^l (x_t^{l-1} - x_0^{l-1})|", first=2),
    Quantity("change_own", "parts", True, "mean |h_t^l - h_0^l - W_0^l (x_t^{l-1} - x_0^{l-1})|", first=2),
    Quantity("dh", "gradients", True, "mean |d loss_i / d h_i^l|, loss_i of one example"),
    Quantity("gradient", "gradients", True, "mean |d L / d w^l|, L the mean loss, W^l = m^{-a_l} w^l"),
    Quantity("update", "gradients", True, "mean |W_t^l - W_0^l|"),
    Quantity("alignment_initial", "alignment", True, "log alignment ratio of W_0^l and x_t^{l-1}"),
    Quantity("alignment_update", "alignment", True, "log alignment ratio of W_t^l - W_0^l and x_t^{l-1}"),
    Quantity(
        "alignment_backward",
        "alignment",
        False,
        "log alignment ratio of (W_t^l - W_0^l)^T and d loss_i / d (W^l x)_i",
        first=2,
    ),
    Quantity(
        "alignment_change",
        "alignment",
        True,
        "log alignment ratio of W_0^l and x_t^{l-1} - x_0^{l-1}",
        first=2,
    ),
    Quantity("update_squared_trace_rank", "ranks", True, "(sum s^2)^2 / sum s^4 of W_t^l - W_0^l"),
    Quantity("update_stable_rank", "ranks", True, "sum s^2 / max s^2 of W_t^l - W_0^l"),
    Quantity("update_threshold_rank", "ranks", True, "number of s^2 > 1e-3 max s^2 of W_t^l - W_0^l"),
    Quantity("x_squared_trace_rank", "ranks", False, "(sum s^2)^2 / sum s^4 of x_t^l"),
    Quantity("x_stable_rank", "ranks", False, "sum s^2 / max s^2 of x_t^l"),
    Quantity("x_threshold_rank", "ranks", False, "number of s^2 > 1e-3 max s^2 of x_t^l"),
    Quantity("cka", "kernels", False, "linear CKA of x_t^l and x_0^l"),
)


def with_companions(probes: Probes, optimizer: str, model: Model = MLP) -> Probes:
    """Probes with what a check of the coordinates needs besides them.

    Sizes of coordinates are held against theory, which covers multilayer perceptrons. The parts of their
    changes say which exponents can show at the widths measured; gradients say whether Adam's epsilon
    matters there.

    >>> with_companions(Probes(("coordinates",)), "adamw").quantities
    ('coordinates', 'parts', 'gradients')
    >>> with_companions(Probes(("ranks",)), "adamw").quantities
    ('ranks',)
    """
    needed: list[str] = []
    if "coordinates" in probes.quantities and model == MLP:
        needed += ["parts"] if not probes.layers or max(probes.layers) > 1 else []
        needed += ["gradients"] if OPTIMIZERS[optimizer].has_epsilon else []
    added = [name for name in needed if name not in probes.quantities]
    return replace(probes, quantities=(*probes.quantities, *added))


def probe_layers(probes: Probes, count: int) -> range | tuple[int, ...]:
    """The layers that are looked at, ascending, of networks of so many weight matrices."""
    return tuple(sorted(set(probes.layers))) or range(1, count + 1)


def probe_names(probes: Probes | None, count: int) -> tuple[str, ...]:
    """Metrics that probes record, by quantity and layer, of networks of so many weight matrices.

    >>> probe_names(Probes(("coordinates", "kernels"), layers=(2, 3)), count=3)
    ('h/2', 'h/3', 'x/2', 'h_change/2', 'h_change/3', 'x_change/2', 'cka/2')
    """
    if probes is None:
        return ()
    layers = probe_layers(probes, count)
    return tuple(
        f"{quantity.name}/{layer}"
        for quantity in QUANTITIES
        if quantity.probe in probes.quantities
        for layer in layers
        if layer in quantity.layers(count)
    )
