"""Measures what the probes of a pack ask for, a few runs at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ipcore.config import Probes, RunConfig
from ipcore.engine.engine import Engine
from ipcore.engine.inputs import Inputs
from ipcore.models.apply import phi
from ipcore.models.scales import multipliers
from ipcore.probes.alignment import log_alignment
from ipcore.probes.coordinates import activations, coordinates
from ipcore.probes.gradients import gradients, updates
from ipcore.probes.kernels import linear_cka
from ipcore.probes.memory import BACKWARD, COMPARE_ACTIVATIONS, COMPARE_WEIGHTS, KEEP_WEIGHTS, slice_runs
from ipcore.probes.parts import change_parts
from ipcore.probes.quantities import probe_layers, probe_names
from ipcore.probes.ranks import ranks
from ipcore.probes.state import State, look
from ipcore.randomness import probe_examples


class Prober:
    """The probes of a pack, with the initialization that they compare with.

    Make it right after initialization: what the networks are then is step 0, and a trainer that goes on from
    a checkpoint is made anew, so that it has the same step 0.

    Args:
        probes: What is measured.
        pack: Networks at step 0; only read, here and later.
        runs: Of the pack; their exponents a give the gauge of gradients.
        inputs: Inputs that are trained on.
        labels: Their labels.
    """

    def __init__(
        self, probes: Probes, pack: Engine, runs: Sequence[RunConfig], inputs: Inputs, labels: Tensor
    ) -> None:
        self._asked, self._pack = frozenset(probes.quantities), pack
        self._layers = probe_layers(probes, pack.shape.layers)
        self._names = probe_names(probes, pack.shape.layers)
        chosen = torch.from_numpy(probe_examples(len(inputs), probes.examples)).to(pack.device)
        with torch.inference_mode(False):  # autograd goes through them
            self._inputs, self._labels = inputs.at(chosen), labels[chosen]
        scales = [multipliers(run.parameterization, pack.shape.architecture.width) for run in runs]
        self._multipliers = torch.tensor(scales, dtype=torch.float64, device=pack.device)
        size = slice_runs(probes, pack.shape.architecture, pack.dtype.itemsize)
        self._slices = [slice(start, start + size) for start in range(0, pack.shape.runs, size)]
        keep_weights = bool(self._asked & KEEP_WEIGHTS)
        self._weights = [weight.clone() for weight in pack.weights] if keep_weights else []
        keep_h = bool(self._asked & COMPARE_ACTIVATIONS)
        self._h = [look(pack, part, self._inputs).h for part in self._slices] if keep_h else []

    def measure(self) -> dict[str, npt.NDArray[np.float64]]:
        """What the networks are now, by metric name, in the order of `probe_names`.

        Returns:
            One value per run, (K,); not finite where the quantity is not defined.
        """
        parts = [self._measure(index, part) for index, part in enumerate(self._slices)]
        return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in self._names}

    def _measure(self, index: int, runs: slice) -> dict[str, Tensor]:
        labels = self._labels if self._asked & BACKWARD else None
        now = look(self._pack, runs, self._inputs, labels)
        return {
            f"{quantity}/{layer}": values
            for layer in self._layers
            for quantity, values in self._layer(now, index, runs, layer).items()
        }

    def _layer(self, now: State, index: int, runs: slice, layer: int) -> dict[str, Tensor]:
        """Everything that is asked of a layer; quantity -> (K,)."""
        found: dict[str, Tensor] = {}
        asked, hidden = self._asked, layer < self._pack.shape.layers
        if asked & COMPARE_ACTIVATIONS:
            h_0 = self._h[index][layer]
            x_0 = phi(h_0, self._pack.activation) if hidden else h_0
            if "coordinates" in asked:
                found |= coordinates(now.h[layer], h_0)
                found |= activations(now.x[layer], x_0) if hidden else {}
            if "parts" in asked and layer > 1:
                x_change = now.x[layer - 1] - phi(self._h[index][layer - 1], self._pack.activation)
                found |= change_parts(now.h[layer] - h_0, x_change, self._weights[layer - 1][runs])
            if "kernels" in asked and hidden:
                found["cka"] = linear_cka(now.x[layer], x_0)
        if asked & COMPARE_WEIGHTS:
            found |= self._matrices(now, index, runs, layer)
        if "ranks" in asked and hidden:
            found |= {f"x_{name}": rank for name, rank in ranks(now.x[layer]).items()}
        return found

    def _matrices(self, now: State, index: int, runs: slice, layer: int) -> dict[str, Tensor]:
        """Everything that is asked of a layer's matrix."""
        found: dict[str, Tensor] = {}
        initial = self._weights[layer - 1][runs]
        change = now.weights[layer] - initial
        if "gradients" in self._asked:
            found |= gradients(
                now.dh[layer], now.dz[layer], now.below[layer], self._multipliers[runs, layer - 1]
            )
            found |= updates(change)
        if "alignment" in self._asked:
            found["alignment_initial"] = log_alignment(initial, now.below[layer])
            found["alignment_update"] = log_alignment(change, now.below[layer])
            if layer > 1:
                x_0 = phi(self._h[index][layer - 1], self._pack.activation)
                found["alignment_change"] = log_alignment(initial, now.below[layer] - x_0)
                if layer < self._pack.shape.layers:
                    found["alignment_backward"] = log_alignment(change.mT, now.dz[layer])
        if "ranks" in self._asked:
            found |= {f"update_{name}": rank for name, rank in ranks(change).items()}
        return found
