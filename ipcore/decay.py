"""What weight decay multiplies the matrices of a run with at every update. Standard library only.

Before update t a matrix is multiplied by 1 - eta f(t) lambda, with the schedule's factor f. A number format
whose numbers above 1 begin at 1 + u cannot hold that where eta f lambda is not far above u: single precision
(u = 1.2e-7) rounds 1 - 1e-7 to 1 - 1.2e-7 and 1 - 2e-8 to 1, and then rounds every product in the same way at
every update. So decay below one portion, 128 u (single precision: 1.5e-5, double: 2.8e-14), is summed in
double precision, as a logarithm, and taken from the matrices by whole portions when half of one is owed; the
last update takes exactly what is left. 1 - 128 u is held exactly, and takes 64 to 128 units in the last place
from a number, so that rounding errs by less than 0.8 % of it, up or down by the number.

Hence the product of all factors is right at the end, and off by at most half a portion, relative, before. The
factors are a function of the step alone: nothing of them is kept in checkpoints. Decay of a portion or more
per update is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from ipcore.config import PackConfig, RunConfig
from ipcore.schedule import factor

_PORTION: Final = 128
# All decay of a run taken together changes no number of single precision if it is smaller.
LEAST_DECAY: Final = 2.0**-24


def decay_rate(run: RunConfig) -> float:
    """eta lambda, what an update takes from matrices under a constant schedule; 0: no decay."""
    return run.base_learning_rate * run.settings.weight_decay


def decay_factors(config: PackConfig, rates: Sequence[float], unit: float) -> Iterator[list[float]]:
    """Factors of the updates 0, 1, .., steps - 1, one for each rate.

    Args:
        config: Schedule and number of updates.
        rates: eta lambda (`decay_rate`), 0..1.
        unit: u of the number format (`torch.finfo(dtype).eps`).

    >>> config = PackConfig("digits", 1, 8, "relu", batch_size=1, steps=5)
    >>> [kept for (kept,) in decay_factors(config, [2.0**-18], unit=2.0**-23)][1] == 1 - 2.0**-16
    True
    """
    portion = _PORTION * unit
    whole = -math.log1p(-portion)
    owed = [0.0] * len(rates)  # as logarithms; negative where half a portion was taken in advance
    for step in range(config.steps):
        schedule = factor(config.schedule, step, config.steps)
        kept = []
        for i, rate in enumerate(rates):
            now = schedule * rate
            left = 1 - now
            if now < portion:
                owed[i] -= math.log1p(-now)
                left = 1.0
                if owed[i] >= whole / 2:
                    owed[i] -= whole
                    left = 1 - portion
            if step == config.steps - 1:
                left *= math.exp(-owed[i])
            kept.append(left)
        yield kept


def run_decay(config: PackConfig, run: RunConfig, updates: int, unit: float) -> Iterator[float]:
    """Factors of a run's first updates; none if it does not decay."""
    rate = decay_rate(run)
    if rate:
        for (kept,) in islice(decay_factors(config, [rate], unit), updates):
            yield kept


class DecayCursor:
    """Factors of all runs of a pack at one step after another.

    Args:
        config: Of the pack.
        runs: Of the pack.
        unit: As for `decay_factors`.
    """

    def __init__(self, config: PackConfig, runs: Sequence[RunConfig], unit: float) -> None:
        rates = [decay_rate(run) for run in runs]
        self._config, self._unit = config, unit
        self._rates = list(dict.fromkeys(rates))
        self._place = [self._rates.index(rate) for rate in rates]
        self._step, self._kept = -1, [1.0] * len(self._rates)
        self._coming = decay_factors(config, self._rates, unit)

    def __bool__(self) -> bool:
        """Whether any run decays."""
        return any(self._rates)

    def at(self, step: int) -> tuple[float, ...]:
        """The factor of every run before the update after `step` others.

        Steps in ascending order cost little; going back (and the first step of a resumed trainer) costs all
        steps from 0 on.
        """
        if step < self._step:
            self._step, self._coming = -1, decay_factors(self._config, self._rates, self._unit)
        while self._step < step:
            self._kept = next(self._coming)
            self._step += 1
        return tuple(self._kept[place] for place in self._place)
