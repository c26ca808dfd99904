"""The examples of each run at each update, on the pack's device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ipcore.randomness import epoch_batches


class Batches:
    """Batch indices of the distinct seeds of a pack, one epoch at a time.

    Attributes:
        slot: Row of each run's seed in what `at` returns, (K,).
    """

    def __init__(self, seeds: Sequence[int], examples: int, batch_size: int, device: torch.device) -> None:
        self._seeds = sorted(set(seeds))
        self._examples, self._batch_size, self._device = examples, batch_size, device
        self._epoch = -1
        self._table: Tensor | None = None
        self.slot = torch.tensor([self._seeds.index(seed) for seed in seeds], device=device)

    def at(self, step: int) -> Tensor:
        """Indices (S, B) of batch `step` >= 1 of every distinct seed."""
        batches = self._examples // self._batch_size
        epoch, batch = divmod(step - 1, batches)
        if self._table is None or epoch != self._epoch:
            self._table = None  # so that two epochs are never in memory at once
            table = np.empty((batches, len(self._seeds), self._batch_size), dtype=np.int32)
            for row, seed in enumerate(self._seeds):
                table[:, row] = epoch_batches(seed, epoch, self._examples, self._batch_size)
            self._table = torch.from_numpy(table).to(self._device)
            self._epoch = epoch
        return self._table[batch]
