"""Measures the quantities of a pack's probes, a few runs at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ipcore.config import PackConfig, Probes, RunConfig
from ipcore.engine.engine import Engine
from ipcore.engine.inputs import Inputs
from ipcore.models.scales import multipliers
from ipcore.probes.definition import Tap
from ipcore.probes.memory import WEIGHTS, slice_runs, taps
from ipcore.probes.quantities import asked, probe_layers, probe_names
from ipcore.probes.single_update import IsolatedUpdate, Newest, isolated_updates
from ipcore.probes.state import look
from ipcore.probes.taps import Initial, Layer
from ipcore.randomness import probe_examples


class Prober:
    """The probes of a pack, with the initialization that they compare with.

    Make it right after initialization: its step 0 is the state of the networks at that time. A trainer that
    resumes from a checkpoint is first initialized, so that it has the same step 0.

    Args:
        config: Configuration of the pack.
        probes: The probes.
        pack: Networks at step 0; only read, here and later.
        runs: Runs of the pack; their exponents a give the gauge of gradients.
        inputs: Inputs that are trained on.
        labels: Their labels.
    """

    def __init__(
        self,
        config: PackConfig,
        probes: Probes,
        pack: Engine,
        runs: Sequence[RunConfig],
        inputs: Inputs,
        labels: Tensor,
    ) -> None:
        self._config, self._pack, self._runs, self._taps = config, pack, tuple(runs), taps(probes)
        self._quantities = [quantity for chosen in asked(probes) for quantity in chosen.quantities]
        self._layers = probe_layers(probes, pack.shape.layers)
        self._names = probe_names(probes, pack.shape.layers)
        chosen = torch.from_numpy(probe_examples(len(inputs), probes.examples)).to(pack.device)
        with torch.inference_mode(False):  # autograd differentiates with respect to them
            self._inputs, self._labels = inputs.at(chosen), labels[chosen]
        scales = [multipliers(run.parameterization, pack.shape.architecture.width) for run in runs]
        self._multipliers = torch.tensor(scales, dtype=torch.float64, device=pack.device)
        size = slice_runs(config, probes, pack.shape.architecture, pack.dtype.itemsize)
        self._slices = [slice(start, start + size) for start in range(0, pack.shape.runs, size)]
        self._weights = [weight.clone() for weight in pack.weights] if self._taps & WEIGHTS else []
        self._biases = [bias.clone() for bias in pack.biases] if Tap.ISOLATED in self._taps else []
        keep_h = Tap.INITIAL_VALUES in self._taps
        self._h = [look(pack, part, self._inputs).h for part in self._slices] if keep_h else []

    def measure(self, newest: Newest | None = None) -> dict[str, npt.NDArray[np.float64]]:
        """Measure the networks in their present state: values by metric name, in the order of `probe_names`.

        Args:
            newest: The update that led to this state; None at step 0.

        Returns:
            One value per run, (K,); not finite where the quantity is not defined.
        """
        parts = [self._measure(index, part, newest) for index, part in enumerate(self._slices)]
        return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in self._names}

    def _measure(self, index: int, runs: slice, newest: Newest | None) -> dict[str, Tensor]:
        now = look(self._pack, runs, self._inputs, self._labels if Tap.DERIVATIVES in self._taps else None)
        initial = Initial(
            [weight[runs] for weight in self._weights],
            self._h[index] if self._h else {},
            self._inputs,
            self._pack.activation,
            now.normalized,
        )
        isolated = self._isolated(runs, newest)
        found: dict[str, Tensor] = {}
        for number in self._layers:
            layer = Layer(number, now, initial, self._multipliers[runs, number - 1], isolated.get(number))
            for quantity in self._quantities:
                if number in quantity.layers(self._pack.shape.layers):
                    found[f"{quantity.name}/{number}"] = quantity.formula(layer)
        return found

    def _isolated(self, runs: slice, newest: Newest | None) -> Mapping[int, IsolatedUpdate]:
        """Isolated updates by layer, if there was an update and a formula reads them."""
        if newest is None or Tap.ISOLATED not in self._taps:
            return {}
        initial = [tensor[runs] for tensor in (*self._weights, *self._biases)]
        members = self._runs[runs]
        return isolated_updates(self._config, self._pack, members, runs, initial, newest, self._inputs)
