"""When what is recorded: a function of the configuration and the step alone. Needs no torch.

Step s is the state after s updates, 0 <= s <= steps; update s uses batch s, s >= 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipcore.catalogue import METRICS
from ipcore.config import PackConfig


def training_metrics_due(config: PackConfig, step: int) -> bool:
    """Whether the loss and accuracy on the batch of update `step` (before it) are recorded."""
    return step in (1, config.steps) or (step > 0 and step % config.metrics_interval == 0)


def test_metrics_due(config: PackConfig, step: int) -> bool:
    """Whether the test set is evaluated at the state `step`."""
    interval = config.evaluation_interval
    return step in (0, config.steps) or (interval > 0 and step % interval == 0)


def weights_due(config: PackConfig, step: int) -> str | None:
    """File stem of the weights kept at a step, or None.

    >>> config = PackConfig("digits", 1, 8, "relu", 4, steps=20, weights="every", weights_interval=8)
    >>> [weights_due(config, step) for step in (0, 8, 10, 20)]
    ['initial', 'step-00000008', None, 'final']
    """
    if config.weights == "none":
        return None
    if step == config.steps:
        return "final"
    if config.weights == "final":
        return None
    if step == 0:
        return "initial"
    every = config.weights == "every" and step % config.weights_interval == 0
    return f"step-{step:08d}" if every else None


def next_weights_due(config: PackConfig, step: int) -> int:
    """First step after `step` at which weights are kept; the last step if there is none earlier."""
    if config.weights != "every":
        return config.steps
    return min(config.steps, (step // config.weights_interval + 1) * config.weights_interval)


@dataclass(frozen=True, eq=False, slots=True)
class Points:
    """Metric points as columns of equal length, ascending in step.

    Attributes:
        run: Position of the run in the pack, int32.
        metric: Index into `ipcore.catalogue.METRICS`, int8.
        step: int64.
        time_ms: When it was measured, milliseconds since 1970-01-01 UTC, int64.
        value: Finite, float64.
    """

    run: npt.NDArray[np.int32]
    metric: npt.NDArray[np.int8]
    step: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.run)

    def rows(self) -> Iterator[tuple[int, str, int, float]]:
        """(run, metric name, step, value) of every point."""
        for run, metric, step, value in zip(self.run, self.metric, self.step, self.value, strict=True):
            yield int(run), METRICS[metric], int(step), float(value)


class Recorder:
    """Collects the points of one slice: a row of values per metric and step, one value per run."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, int, npt.NDArray[np.float64]]] = []

    def add(self, metric: str, step: int, time_ms: int, values: npt.NDArray[np.float64]) -> None:
        """Add the values of all runs, (K,)."""
        self._rows.append((metric, step, time_ms, values))

    def points(self, last_step: npt.NDArray[np.int64]) -> Points:
        """What is recorded of the rows.

        Args:
            last_step: Last step of each run at which points count, (K,); values that are not finite never do.
        """
        rows = sorted(self._rows, key=lambda row: (row[1], METRICS.index(row[0])))
        runs = len(last_step)
        value = np.array([row[3] for row in rows], dtype=np.float64).reshape(len(rows), runs)
        step = np.array([row[1] for row in rows], dtype=np.int64)[:, None]
        keep = np.isfinite(value) & (step <= last_step)
        row, run = np.nonzero(keep)
        metric = np.array([METRICS.index(r[0]) for r in rows], dtype=np.int8)
        time_ms = np.array([r[2] for r in rows], dtype=np.int64)
        return Points(run.astype(np.int32), metric[row], step[row, 0], time_ms[row], value[keep])
