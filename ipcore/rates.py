"""The rate of every run and layer at every step, as the pack uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ipcore.config import PackConfig, RunConfig
from ipcore.errors import ConfigError
from ipcore.pack import Pack
from ipcore.scales import rate_factors


class Rates:
    """Rates r_l = -eta m^{-c_l(t) - 2 a_l} / B of a pack's runs (see `ipcore.scales`).

    At step 0 a calibrated run has a base rate of its own in every layer instead of eta.

    Raises:
        ConfigError: A rate that the pack's number format cannot hold.
    """

    def __init__(
        self,
        config: PackConfig,
        runs: Sequence[RunConfig],
        calibrated: Mapping[int, tuple[float, ...]],
        pack: Pack,
    ) -> None:
        self._config, self._runs, self._calibrated = config, runs, calibrated
        self._dtype, self._device = pack.dtype, pack.device
        self._masked = np.zeros(len(runs), dtype=bool)
        starts = {phase.start for run in runs for phase in run.parameterization.phases}
        self._starts = sorted(starts | ({1} if calibrated else set()))
        self._current: tuple[int, list[Tensor]] | None = None
        for start in self._starts:
            self._check(start)

    def mask(self, position: int) -> None:
        """Let a run learn nothing from now on."""
        self._masked[position] = True
        self._current = None

    def at(self, step: int) -> list[Tensor]:
        """r_l of the update after `step` updates: one tensor (K, 1, 1) per layer."""
        start = max(s for s in self._starts if s <= step)
        if self._current is None or self._current[0] != start:
            table = torch.from_numpy(self.table(start)).to(self._device, self._dtype)
            self._current = (start, [column.view(-1, 1, 1) for column in table.unbind(1)])
        return self._current[1]

    def table(self, step: int) -> npt.NDArray[np.float64]:
        """r_l of the update after `step` updates, per run and layer (K, L+1); 0 for masked runs."""
        table = np.zeros((len(self._runs), self._config.hidden_layers + 1))
        for position, run in enumerate(self._runs):
            if self._masked[position]:
                continue
            factors = np.array(rate_factors(run.parameterization, self._config.width, step))
            calibrated = self._calibrated.get(position) if step == 0 else None
            base = np.array(calibrated or run.base_learning_rate)
            table[position] = -base * factors / self._config.batch_size
        return table

    def _check(self, start: int) -> None:
        largest = torch.finfo(self._dtype).max
        wrong = np.flatnonzero((np.abs(self.table(start)) > largest).any(axis=1))
        if wrong.size:
            raise ConfigError(
                [
                    f"runs[{p}].parameterization: its rates from step {start} on exceed {largest:g}"
                    for p in wrong
                ]
            )
