"""Worlds whose truth is known, to try studies in: sizes with a given exponent, losses with a given best rate.

Every number is drawn by (world, width, seed), so a run is the same whenever it is asked for, as real ones
are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from ipcore.analysis.welch import slope_weights
from ipcore.studies import (
    FINAL_LOSS,
    FIRST_LOSS,
    Decision,
    Metric,
    Outcome,
    Question,
    Results,
    Run,
    RunNext,
)
from ipcore.studies.planner import plan_round

World = Callable[[Run, Iterable[Metric]], Outcome]

_REFERENCE: Final = 1024
_SPREAD_WIDTHS: Final = (128, 256, 512, 1024)
_LOG_NORMAL: Final = 1.1107  # standard deviation of log |N|


@dataclass(frozen=True, slots=True)
class SizeWorld:
    """Sizes A m^p (1 + kappa m^(-1/2)) times noise.

    Attributes:
        key: Key of the random numbers.
        exponent: p, of every metric.
        spread: Standard deviation of the slope of one seed over widths 128..1024.
        kappa: Coefficient of the next order.
        noise: Distribution of the noise of logarithms: "normal", "student" (three degrees of freedom) or
            "log-normal" (log |N|).
    """

    key: int
    exponent: float
    spread: float
    kappa: float = 0.0
    noise: str = "normal"

    def __call__(self, run: Run, metrics: Iterable[Metric]) -> Outcome:
        """Train a run; a run at width 1024 costs 1."""
        generator = np.random.default_rng([self.key, run.width, run.seed])
        scale = self.spread / float(np.linalg.norm(slope_weights(_SPREAD_WIDTHS)))
        level = self.exponent * math.log(run.width) + math.log1p(self.kappa * run.width**-0.5)
        values = {metric: math.exp(level + scale * drawn(generator, self.noise)) for metric in metrics}
        return Outcome(values, core_seconds=cost(run.width))


@dataclass(frozen=True)
class LossWorld:
    """Final losses against base rates, with a best rate that moves.

    The best rate is 2^(drift (log2 m - 7)) at width m. log loss is -2.5, plus 0.19 per squared octave to the
    left (linear beyond 1.5) and half as much again to the right; it is at most 0, as before training.

    Attributes:
        key: Key of the random numbers.
        drift: Octaves per doubling.
        best: log2 of the best rate at width 128.
        cliff: Octaves above the best rate (without its noise) at which runs diverge.
        noise: Noise of the best rate by seed and width, see `SizeWorld`.
    """

    key: int
    drift: float = 0.0
    best: float = 0.0
    cliff: float = 0.6
    noise: str = "normal"

    def __call__(self, run: Run, metrics: Iterable[Metric]) -> Outcome:
        """Train a run; a run at width 1024 costs 1."""
        best, cliff, level = self._seed(run.width, run.seed)
        octave = math.log2(run.rate)
        if octave > cliff:
            return Outcome({FIRST_LOSS: 1.0}, diverged=True, core_seconds=cost(run.width))
        right = octave - best
        generator = np.random.default_rng([self.key, run.width, run.seed, round(2 * octave + 1000)])
        noise = 0.03 * (1 + 3 * max(right, 0.0)) * float(generator.standard_normal())
        log_loss = min(0.0, -2.5 + level + _penalty(right) + noise)
        return Outcome({FIRST_LOSS: 1.0, FINAL_LOSS: math.exp(log_loss)}, core_seconds=cost(run.width))

    def _seed(self, width: int, seed: int) -> tuple[float, float, float]:
        """Best rate and divergence in octaves, and level, of a seed at a width."""
        generator = np.random.default_rng([self.key, width, seed])
        centre = self.best + self.drift * (math.log2(width) - 7)
        best = centre + 0.3 * drawn(generator, self.noise)
        cliff = centre + self.cliff + 0.2 * float(generator.standard_normal())
        return best, cliff, 0.08 * float(generator.standard_normal())


def drawn(generator: np.random.Generator, noise: str) -> float:
    """A random number of standard deviation 1; 0 of "none"."""
    if noise == "none":
        return 0.0
    if noise == "student":
        return float(generator.standard_t(3)) / math.sqrt(3)
    normal = float(generator.standard_normal())
    return math.log(abs(normal)) / _LOG_NORMAL if noise == "log-normal" else normal


def cost(width: int) -> float:
    """Of one run."""
    return (width / _REFERENCE) ** 2


@dataclass(frozen=True, slots=True)
class Ended:
    """A study that has ended.

    Attributes:
        decision: Decided, or out of budget.
        runs: What was trained.
        rounds: How often runs were asked for.
    """

    decision: Decision
    runs: Mapping[Run, Outcome]
    rounds: int

    @property
    def cost(self) -> float:
        """In runs of width 1024."""
        return sum(outcome.core_seconds or 0.0 for outcome in self.runs.values())


def study(question: Question, world: World) -> Ended:
    """Ask the planner and train what it wants until it ends.

    Raises:
        RuntimeError: The planner asks for a run twice, or for nothing.
    """
    runs: dict[Run, Outcome] = {}
    rounds = 0
    while isinstance(decision := plan_round(question, Results(runs)), RunNext):
        wanted = list(decision.runs())
        if not wanted or len(set(wanted)) < len(wanted) or not runs.keys().isdisjoint(wanted):
            raise RuntimeError(f"round {rounds} asks for nothing, or for a run again")
        runs |= {run: world(run, decision.metrics) for run in wanted}
        rounds += 1
    return Ended(decision, runs, rounds)


def _penalty(right: float) -> float:
    """Log loss above the best, so many octaves to the right of it (to the left: negative)."""
    apart = abs(right)
    parabola = 0.19 * (apart**2 if apart < 1.5 else 1.5**2 + 3 * (apart - 1.5))
    return 1.5 * parabola if right > 0 else parabola
