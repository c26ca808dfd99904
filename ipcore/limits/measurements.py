"""Measurements of limits between updates, on held-out data: loss, accuracy, outputs, and a limit's error.

Where f is an average over replicas, metrics are those of the average. The metric "limit_error" is an estimate
of its error from the differences between replicas: the root mean square error of f on the test set, relative
to |f|.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ipcore.catalogue import output_dim
from ipcore.config import PackConfig
from ipcore.data import Dataset
from ipcore.engine.losses import LOSSES, correct
from ipcore.limits.learners import Learner
from ipcore.probes.outputs import OUTPUTS
from ipcore.probes.sketch import Sketch
from ipcore.training.recording import LIMIT_ERROR, Recorder, outputs_due, records, test_metrics_due


class Measurements:
    """Measures the runs of a pack and passes the points to a recorder."""

    def __init__(self, config: PackConfig, dataset: Dataset, labels: Mapping[str, Tensor]) -> None:
        """Prepare it.

        Args:
            config: Configuration of the pack.
            dataset: What its runs train on.
            labels: Labels of the held-out splits by name ("test"), on the device.
        """
        self._config, self._labels = config, labels
        self._loss, self._classes = LOSSES[config.loss], not dataset.target_dim
        self._sketch: Sketch | None = None
        if records(config, "outputs"):
            self._sketch = Sketch(len(dataset.test) * output_dim(config.loss, dataset.info))

    def record(self, recorder: Recorder, step: int, live: Mapping[int, Learner], count: int) -> set[int]:
        """Record the metrics of outputs that are due at a step, from one evaluation.

        Args:
            recorder: Takes the points.
            step: Updates done.
            live: The runs to measure, by position.
            count: Runs of the pack, K.

        Returns:
            Positions whose loss on one of the splits is not finite.
        """
        evaluated, sketched = test_metrics_due(self._config, step), outputs_due(self._config, step)
        lost: set[int] = set()
        for place in self._labels:
            if evaluated or (sketched and place == "test"):
                loss = self._record_place(recorder, step, place, live, count, evaluated, sketched)
                lost |= {position for position in live if not np.isfinite(loss[position])}
        return lost

    def _record_place(
        self,
        recorder: Recorder,
        step: int,
        place: str,
        live: Mapping[int, Learner],
        count: int,
        evaluated: bool,
        sketched: bool,
    ) -> np.ndarray:
        """Record a split, and return the losses on it, (K,)."""
        now, labels = recorder.now_ms(), self._labels[place]
        loss, accuracy, error = (np.full(count, np.nan) for _ in range(3))
        sketches = np.full((count, len(OUTPUTS.metrics)), np.nan)
        sketch = self._sketch if sketched and place == "test" else None
        for position, learner in live.items():
            replicas = learner.outputs(place)
            f = replicas.mean(dim=0)
            loss[position] = float(self._loss.values(f, labels).mean(dtype=torch.float64))
            if self._classes:
                accuracy[position] = float(correct(f, labels).double().mean())
            if self._config.infinite_width:
                error[position] = replica_error(replicas)
            if sketch is not None:
                sketches[position] = sketch.of([f[None]], 1)[0]
        if evaluated:
            recorder.add(f"{place}_loss", step, now, loss)
            if self._classes:
                recorder.add(f"{place}_accuracy", step, now, accuracy)
        if place == "test" and self._config.infinite_width:
            recorder.add(LIMIT_ERROR, step, now, error)
        if sketch is not None:
            for metric, values in zip(OUTPUTS.metrics, sketches.T, strict=True):
                recorder.add(metric, step, now, values)
        return loss


def replica_error(replicas: Tensor) -> float:
    """Root mean square error of the replicas' mean, relative to its size; NaN if it cannot be known.

    Args:
        replicas: (R, n, C).
    """
    count = len(replicas)
    if count < 2:
        return float("nan")
    mean = replicas.double().mean(dim=0)
    variance = (replicas.double() - mean).square().sum() / (count - 1)
    size = mean.square().sum()
    return float((variance / count / size).sqrt()) if size > 0 else float("nan")
