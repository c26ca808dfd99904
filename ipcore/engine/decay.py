"""The factor of weight decay on the matrices of a run, at every update. Standard library only.

Before update t a matrix is multiplied by 1 - eta f(t) lambda, with the schedule's factor f. A number
format whose numbers above 1 begin at 1 + u cannot hold that factor where eta f lambda is not far above
u. Single precision (u = 1.2e-7) rounds 1 - 1e-7 to 1 - 1.2e-7 and 1 - 2e-8 to 1, and then rounds every
product in the same direction at every update. Decay of 128 u or more per update (single precision:
1.5e-5, double: 2.8e-14) is applied as it is. Smaller decay is summed in double precision, as a
logarithm, and taken from the matrices in portions:

- a portion is the outstanding decay, rounded to a multiple of u / 2, so that 1 - portion is exact; the
  rest stays outstanding;
- it is at least 8 u to 24 u, another size each time, so that the products of a number are not always
  rounded in the same direction; the first 32 are smaller, growing to that;
- it is applied as soon as half of it is outstanding, and the last update applies exactly the remainder.

So the product of all factors is right after the last update and off by at most 12 u before, at first by
less than 1 u: no more than what rounding at every update would have made of it. A single number is off by
its own rounding: mostly by less than 0.5 % of its decay, by up to 3 % for some. The factors are a function
of the step alone, so checkpoints need not hold them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from ipcore.config import PackConfig, RunConfig
from ipcore.engine.schedule import factor

# In units u: decay that is applied as it is; the least portion, and by how much it varies.
_CERTAIN: Final = 128
_LEAST: Final = 8
_VARIES: Final = 16
_SMALLER: Final = 32  # portions that are smaller, at first
_GOLDEN: Final = (math.sqrt(5) - 1) / 2  # fractions of its multiples are spread evenly
# All decay of a run taken together changes no number of single precision if it is smaller.
LEAST_DECAY: Final = 2.0**-24


def decay_rate(run: RunConfig) -> float:
    """Decay per update under a constant schedule, eta lambda; 0: no decay."""
    return run.base_learning_rate * run.settings.weight_decay


def decay_misfit(decay: float, base_learning_rate: float) -> str:
    """Why a weight decay lambda >= 0 cannot be used at a rate; "" if it can."""
    if not decay * base_learning_rate > 1:
        return ""
    return (
        f"{decay} times the base learning rate {base_learning_rate} is more than 1: each update "
        f"multiplies weights by 1 - eta lambda, so their signs would change; at most "
        f"{1 / base_learning_rate:.4g}"
    )


def decay_factors(config: PackConfig, rates: Sequence[float], unit: float) -> Iterator[list[float]]:
    """Factors of the updates 0, 1, .., steps - 1, one for each rate.

    Args:
        config: Schedule and number of updates.
        rates: eta lambda (`decay_rate`), 0..1.
        unit: u of the number format (`torch.finfo(dtype).eps`).

    >>> config = PackConfig("digits", 1, 8, "relu", batch_size=1, steps=3)
    >>> [1 - kept for (kept,) in decay_factors(config, [0.25], unit=2.0**-23)]
    [0.25, 0.25, 0.25]
    """
    owed = [_Owed(unit) for _ in rates]
    for step in range(config.steps):
        schedule, last = factor(config.schedule, step, config.steps), step == config.steps - 1
        yield [one.factor(schedule * rate, last=last) for one, rate in zip(owed, rates, strict=True)]


class _Owed:
    """Outstanding decay of one rate, as a logarithm; negative after a portion that was applied early."""

    def __init__(self, unit: float) -> None:
        self._unit, self._owed, self._portions = unit, 0.0, 0

    def factor(self, decay: float, *, last: bool) -> float:
        """The factor of an update whose decay is 1 - `decay`."""
        kept = 1.0 - decay
        if decay < _CERTAIN * self._unit:
            self._owed -= math.log1p(-decay)
            kept = 1.0 if last else 1.0 - self._portion()
        return kept * math.exp(-self._owed) if last else kept

    def _portion(self) -> float:
        least = self._unit * (_LEAST + _VARIES * (self._portions * _GOLDEN % 1))
        least *= min(1.0, (self._portions + 1) / _SMALLER)
        if self._owed < least / 2:
            return 0.0
        grain = self._unit / 2
        portion = round(max(self._owed, least) / grain) * grain
        self._owed += math.log1p(-portion)
        self._portions += 1
        return portion


def run_decay(config: PackConfig, run: RunConfig, updates: int, unit: float) -> Iterator[float]:
    """Factors of a run's first updates; none if it does not decay."""
    rate = decay_rate(run)
    if rate:
        for (kept,) in islice(decay_factors(config, [rate], unit), updates):
            yield kept


class DecayCursor:
    """Factors of all runs of a pack at one step after another.

    Args:
        config: Configuration of the pack.
        runs: Runs of the pack.
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
