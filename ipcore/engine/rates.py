"""The rate of every run and layer at every step, as optimizers use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ipcore.catalogue import OPTIMIZERS
from ipcore.config import PackConfig, RunConfig
from ipcore.engine.decay import DecayCursor
from ipcore.engine.engine import Engine
from ipcore.engine.schedule import factor
from ipcore.models.scales import bias_rate_factors, rate_factors

Table = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class StepRates:
    """Factors of an update, one number per run; the same tensors at every step.

    Attributes:
        weights: r_l, (K, 1, 1) per layer.
        biases: Likewise for biases, if they have rates of their own. None: a bias in the first layer has its
            layer's.
        decay: Factor of the matrices before the update (`ipcore.engine.decay`), (K, 1, 1); None: no run
            decays.
    """

    weights: list[Tensor]
    biases: list[Tensor] | None
    decay: Tensor | None


class Rates:
    """Rates of effective weights W^l = m^{-a_l} w^l (`ipcore.models.scales`) times the schedule's f(t).

        r_l = -eta f(t) m^{-c_l(t) - 2 a_l} / B     for gradients summed over the batch (SGD, momentum)
        r_l = -eta f(t) m^{-c_l(t) - a_l}           for Adam, whose updates have a size of their own

    At step 0 a calibrated run has a base rate of its own in every layer instead of eta. A masked run has
    rates 0 and does not decay.
    """

    def __init__(
        self,
        config: PackConfig,
        runs: Sequence[RunConfig],
        calibrated: Mapping[int, tuple[float, ...]],
        pack: Engine,
    ) -> None:
        self._config, self._runs, self._calibrated = config, runs, calibrated
        self._entrywise = OPTIMIZERS[config.optimizer].entrywise
        self._own_biases = len(pack.biases) > 1
        self._masked = np.zeros(len(runs), dtype=bool)
        self._decay = DecayCursor(config, runs, torch.finfo(pack.dtype).eps)
        starts = {0, *([1] if calibrated else [])}
        self._starts = sorted(starts.union(*(starts_of(run) for run in runs)))
        self._constant: tuple[int, Table] | None = None
        self._current: tuple[int, float, tuple[float, ...]] | None = None
        # One tensor, overwritten when the numbers change, so that a step can be replayed on the device.
        layers = config.layers
        columns = (1 + self._own_biases) * layers + bool(self._decay)
        self._moved = torch.zeros((columns, len(runs), 1, 1), dtype=pack.dtype, device=pack.device)
        rows = list(self._moved)
        self._rates = StepRates(
            rows[:layers],
            rows[layers : 2 * layers] if self._own_biases else None,
            rows[-1] if self._decay else None,
        )

    def mask(self, masked: npt.NDArray[np.bool_]) -> None:
        """Let these runs, (K,), learn nothing from now on: their rates are 0."""
        if not np.array_equal(masked, self._masked):
            self._masked = masked.copy()
            self._constant = self._current = None

    def at(self, step: int) -> StepRates:
        """Rates of the update after `step` updates."""
        start = max(s for s in self._starts if s <= step)
        schedule = factor(self._config.schedule, step, self._config.steps)
        kept = self._decay.at(step) if self._decay else ()
        if self._current != (start, schedule, kept):
            self._current = (start, schedule, kept)
            self._write(start, schedule, kept)
        return self._rates

    def _write(self, start: int, schedule: float, kept: tuple[float, ...]) -> None:
        if self._constant is None or self._constant[0] != start:
            self._constant = (start, self._table(start))
        table = self._constant[1] * schedule
        if kept:
            table = np.concatenate([table, np.where(self._masked, 1.0, kept)[:, None]], axis=1)
        self._moved.copy_(torch.from_numpy(np.ascontiguousarray(table.T)).view(self._moved.shape))

    def _table(self, start: int) -> Table:
        """Weights' and, if they have their own, biases' rates from a step on, before the schedule."""
        layers = self._config.layers
        table = np.zeros((len(self._runs), (1 + self._own_biases) * layers))
        for position, run in enumerate(self._runs):
            if self._masked[position]:
                continue
            p, width, entrywise = run.parameterization, self._config.width, self._entrywise
            calibrated = self._calibrated.get(position) if start == 0 else None
            base = np.array(calibrated or run.base_learning_rate)
            factors = np.array(rate_factors(p, width, start, entrywise=entrywise))
            table[position, :layers] = -base * factors
            if self._own_biases:
                # A calibrated run has no biases of its own: at most one that shares the first layer's rate,
                # and that is the user's.
                own = bias_rate_factors(p, width, start, self._config.bias, entrywise=entrywise)
                table[position, layers:] = -run.base_learning_rate * np.array(own)
        return table if self._entrywise else table / self._config.batch_size


def starts_of(run: RunConfig) -> set[int]:
    """Steps at which a run's rates change."""
    p = run.parameterization
    phases = (*p.phases, *(p.biases.phases if p.biases is not None else ()))
    return {phase.start for phase in phases}
