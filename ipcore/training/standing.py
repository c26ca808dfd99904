"""The runs of a pack that still learn, and the last step at which points of the others count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

_NEVER: Final = np.iinfo(np.int64).max


class Standing:
    """The standing of K runs. A masked run stays in the pack, but learns and records nothing more.

    Attributes:
        masked: Whether a run was stopped or has diverged, (K,).
        last_step: Last step at which points of a run count, (K,); the largest int64 while it is not masked.
        diverged: Position -> update, of all runs that have diverged.
    """

    def __init__(self, runs: int) -> None:
        self.masked = np.zeros(runs, dtype=bool)
        self.last_step = np.full(runs, _NEVER, dtype=np.int64)
        self.diverged: dict[int, int] = {}

    @property
    def live(self) -> list[int]:
        """Positions of the runs that are not masked, ascending."""
        return [int(position) for position in np.flatnonzero(~self.masked)]

    @property
    def all_masked(self) -> bool:
        """Whether no run is left to train."""
        return bool(self.masked.all())

    def checked(self, positions: Iterable[int]) -> list[int]:
        """The positions.

        Raises:
            IndexError: No such position.
        """
        found = list(positions)
        for position in found:
            if not 0 <= position < len(self.masked):
                raise IndexError(f"the pack has positions 0..{len(self.masked) - 1}, not {position}")
        return found

    def mask(self, position: int, last_step: int) -> None:
        """Let a run learn and record nothing after `last_step`."""
        self.last_step[position] = min(self.last_step[position], last_step)
        self.masked[position] = True

    def diverge(self, position: int, step: int) -> None:
        """Mask a run that has diverged at update `step`, which is not counted."""
        self.diverged[position] = step
        self.mask(position, step - 1)

    def state(self) -> dict[str, Tensor]:
        """Its part of a checkpoint, by name."""
        diverged = np.full(len(self.masked), -1, dtype=np.int64)
        diverged[list(self.diverged)] = list(self.diverged.values())
        return {"last_step": torch.from_numpy(self.last_step), "diverged": torch.from_numpy(diverged)}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over its part of a checkpoint."""
        self.last_step = tensors["last_step"].numpy().copy()
        self.masked = self.last_step != _NEVER
        self.diverged = {p: step for p, step in enumerate(tensors["diverged"].tolist()) if step >= 0}
