"""What is measured, by name: which probe has it, and in which layers. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ipcore.config import Probes


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number per run and layer.

    Attributes:
        name: The metric of layer l is called "name/l".
        probe: Name in `ipcore.catalogue.PROBES` that asks for it.
        readout: Whether the last layer, the output, has it too; all others have every quantity.
        description: One line for people.
    """

    name: str
    probe: str
    readout: bool
    description: str

    def layers(self, count: int) -> range:
        """Layers that have it in a network of so many weight matrices."""
        return range(1, count + (1 if self.readout else 0))


# Means are over the fixed examples and the neurons (or entries); h^{L+1} is f.
QUANTITIES: Final = (
    Quantity("h", "coordinates", True, "mean |h_t^l|"),
    Quantity("x", "coordinates", False, "mean |x_t^l|"),
    Quantity("h_change", "coordinates", True, "mean |h_t^l - h_0^l|"),
    Quantity("x_change", "coordinates", False, "mean |x_t^l - x_0^l|"),
    Quantity("dh", "gradients", True, "mean |d loss_i / d h_i^l|, loss_i of one example"),
    Quantity("gradient", "gradients", True, "mean |d L / d w^l|, L the mean loss, W^l = m^{-a_l} w^l"),
    Quantity("update", "gradients", True, "mean |W_t^l - W_0^l|"),
    Quantity("alignment_initial", "alignment", True, "log alignment ratio of W_0^l and x_t^{l-1}"),
    Quantity("alignment_update", "alignment", True, "log alignment ratio of W_t^l - W_0^l and x_t^{l-1}"),
    Quantity("update_squared_trace_rank", "ranks", True, "(sum s^2)^2 / sum s^4 of W_t^l - W_0^l"),
    Quantity("update_stable_rank", "ranks", True, "sum s^2 / max s^2 of W_t^l - W_0^l"),
    Quantity("update_threshold_rank", "ranks", True, "number of s^2 > 1e-3 max s^2 of W_t^l - W_0^l"),
    Quantity("x_squared_trace_rank", "ranks", False, "(sum s^2)^2 / sum s^4 of x_t^l"),
    Quantity("x_stable_rank", "ranks", False, "sum s^2 / max s^2 of x_t^l"),
    Quantity("x_threshold_rank", "ranks", False, "number of s^2 > 1e-3 max s^2 of x_t^l"),
    Quantity("cka", "kernels", False, "linear CKA of x_t^l and x_0^l"),
)


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
