"""The recorded metrics of each step, as a function of the configuration alone. Needs no torch.

Step s is the state after s updates, 0 <= s <= steps; update s uses batch s, s >= 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ipcore.catalogue import METRICS, PROBES
from ipcore.config import PackConfig
from ipcore.probes.quantities import probe_names

# For a limit that is an average over systems of particles, its error (`ipcore.limits.measurements`).
LIMIT_ERROR: Final = "limit_error"


def metric_names(config: PackConfig) -> tuple[str, ...]:
    """Metrics that a pack may record; `Points.metric` refers to them.

    The validation metrics are among them only if there is a validation set, the error of a limit only of a
    limit. (Accuracies of real-valued targets are among them, but never recorded.)

    >>> from ipcore.config import Probes
    >>> probes = Probes(("kernels",), steps=(0,))
    >>> metric_names(PackConfig("digits", 2, 8, "relu", 4, steps=20, probes=probes))
    ('train_loss', 'train_accuracy', 'test_loss', 'test_accuracy', 'cka/1', 'cka/2')
    """
    base = [name for name in METRICS if config.validation_size or not name.startswith("validation_")]
    limit = (LIMIT_ERROR,) if config.infinite_width else ()
    return (*base, *limit, *probe_names(config.probes, config.layers))


def training_metrics_due(config: PackConfig, step: int) -> bool:
    """Whether the loss and accuracy on the batch of update `step` (before it) are recorded."""
    return step in (1, config.steps) or (step > 0 and step % config.metrics_interval == 0)


def test_metrics_due(config: PackConfig, step: int) -> bool:
    """Whether the test set is evaluated at the state `step`."""
    interval = config.evaluation_interval
    return step in (0, config.steps) or (interval > 0 and step % interval == 0)


def probes_due(config: PackConfig, step: int) -> bool:
    """Whether probes measure the state `step`."""
    probes = config.probes
    if probes is None:
        return False
    return step in probes.steps or (probes.interval > 0 and step % probes.interval == 0)


def outputs_due(config: PackConfig, step: int) -> bool:
    """Whether the outputs on the test set are recorded at the state `step`."""
    return records(config, "outputs") and probes_due(config, step)


def records(config: PackConfig, probe: str) -> bool:
    """Whether a probe is asked for, by its name."""
    return config.probes is not None and probe in config.probes.quantities


def records_outputs(config: PackConfig) -> bool:
    """Whether any probe reads the outputs on the test set."""
    return any(probe.of_outputs and records(config, name) for name, probe in PROBES.items())


def points_per_run(config: PackConfig) -> int:
    """Metric points of a run that neither diverges nor is stopped, at most; no loop over steps.

    >>> points_per_run(PackConfig("digits", 2, 8, "relu", 4, steps=20, metrics_interval=10))
    10
    """
    last = config.steps
    training = _multiples(config.metrics_interval, last, others={1, last}) - 1  # step 0 has no batch
    tests = _multiples(config.evaluation_interval, last, others={0, last})
    points = 2 * training + ((4 if config.validation_size else 2) + config.infinite_width) * tests
    if config.probes is not None:
        due = _multiples(config.probes.interval, last, others=set(config.probes.steps))
        points += due * (len(probe_names(config.probes, config.layers)) + config.infinite_width)
    return points


def _multiples(interval: int, last: int, others: set[int]) -> int:
    """Number of steps 0..last that are multiples of the interval (0: none is) or among some others."""
    if interval == 0:
        return len(others)
    return last // interval + 1 + sum(step % interval > 0 for step in others)


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
        metrics: Names that `metric` refers to (`metric_names`).
        run: Position of the run in the pack, int32.
        metric: Position in `metrics`, int32.
        step: int64.
        time_ms: When it was measured, milliseconds since 1970-01-01 UTC, int64.
        value: Finite, float64.
    """

    metrics: tuple[str, ...]
    run: npt.NDArray[np.int32]
    metric: npt.NDArray[np.int32]
    step: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.run)

    def rows(self) -> Iterator[tuple[int, str, int, float]]:
        """(run, metric name, step, value) of every point."""
        for run, metric, step, value in zip(self.run, self.metric, self.step, self.value, strict=True):
            yield int(run), self.metrics[metric], int(step), float(value)


class Recorder:
    """Collects the points of one slice: a row of values per metric and step, one value per run.

    Args:
        metrics: Names that may be recorded, in their order within a step.
        clock: Seconds since 1970, for the times of points.
    """

    def __init__(self, metrics: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._metrics, self._clock = tuple(metrics), clock
        self._place = {name: place for place, name in enumerate(self._metrics)}
        self._rows: list[tuple[int, int, int, npt.NDArray[np.float64]]] = []

    def now_ms(self) -> int:
        """The time of points that are measured now."""
        return int(self._clock() * 1000)

    def add(self, metric: str, step: int, time_ms: int, values: npt.NDArray[np.float64]) -> None:
        """Add the values of all runs, (K,)."""
        self._rows.append((step, self._place[metric], time_ms, values))

    def points(self, last_step: npt.NDArray[np.int64]) -> Points:
        """The points of the collected rows.

        Args:
            last_step: Last step of each run at which points count, (K,); values that are not finite never do.
        """
        rows = sorted(self._rows, key=lambda row: row[:2])
        runs = len(last_step)
        value = np.array([row[3] for row in rows], dtype=np.float64).reshape(len(rows), runs)
        step = np.array([row[0] for row in rows], dtype=np.int64)[:, None]
        keep = np.isfinite(value) & (step <= last_step)
        row, run = np.nonzero(keep)
        metric = np.array([row[1] for row in rows], dtype=np.int32)
        time_ms = np.array([row[2] for row in rows], dtype=np.int64)
        return Points(
            self._metrics, run.astype(np.int32), metric[row], step[row, 0], time_ms[row], value[keep]
        )
