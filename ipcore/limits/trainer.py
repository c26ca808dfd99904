"""Training of runs at m = infinity, or with deferred weights, slice by slice.

It has the interface of `ipcore.training.trainer.Trainer` and records the same metrics, so that a limit is
trained like any other run. Where f is an average over replicas, metrics are those of the average. The metric
"limit_error" is an estimate of its error from the differences between replicas: the root mean square error of
f on the test set, relative to |f|.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ipcore.catalogue import output_dim
from ipcore.catalogue.settings import plain
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.losses import LOSSES, correct
from ipcore.engine.precision import matmul_precision
from ipcore.engine.threads import thread_count
from ipcore.errors import ConfigError
from ipcore.limits.kinds import limit_of_run
from ipcore.limits.learners import DeferredLearner, KernelLearner, Learner, Material, ParticleLearner
from ipcore.limits.limit import Limit
from ipcore.limits.particles import below
from ipcore.limits.problems import limit_problems
from ipcore.probes.outputs import OUTPUTS
from ipcore.probes.sketch import Sketch
from ipcore.training.batches import Batches
from ipcore.training.holdout import split_training
from ipcore.training.recording import (
    LIMIT_ERROR,
    Recorder,
    metric_names,
    outputs_due,
    records,
    test_metrics_due,
    training_metrics_due,
)
from ipcore.training.standing import Standing
from ipcore.training.trainer import Slice, Trainer
from ipcore.training.validation import check_pack


class LimitTrainer:
    """Runs of one pack with `infinite_width` or `deferred`; each trains on its own.

    Attributes:
        config: Settings that the runs share.
        runs: The runs, by position.
        dataset: What they train on.
        device: Device that trains them.
        threads: Threads inside an operation; None: torch's own setting.
        dtype: Single or double precision.
        step: Updates done.
        learners: One per run.
        limits: Limit of each run; None for deferred weights.
        calibrated_rates: First base rates of the layers 1..L+1, by position; of calibrated runs only.

    Raises:
        ConfigError: These runs have no limit, or cannot be trained as one pack on this dataset; names every
            reason.
    """

    format: Final = "iplab-limit-checkpoint/1"

    def __init__(
        self,
        config: PackConfig,
        runs: Sequence[RunConfig],
        dataset: Dataset,
        *,
        device: str | torch.device = "cpu",
        threads: int | None = None,
        dtype: torch.dtype = torch.float32,
        clock: Callable[[], float] = time.time,
        data_seed: int | None = None,
        memory: int | None = None,
    ) -> None:
        """Prepare training; `data_seed` and `memory` are optional.

        Args:
            config: Configuration of the pack.
            runs: Runs of the pack.
            dataset: What they train on.
            device: See the class. Draws are made on the CPU and moved, so that numbers are the same on every
                device, up to rounding.
            threads: See the class.
            dtype: See the class.
            clock: Seconds since 1970, for the times of points.
            data_seed: All runs see the batches of this seed; None: each those of its own.
            memory: Available bytes; None: not known. Runs that need more are refused.
        """
        if not (config.infinite_width or config.deferred):
            raise ConfigError(["infinite_width: networks of finite width are for ipcore.Trainer"])
        check_pack(config, runs, dataset, dtype)
        config, runs = plain(config), [plain(run) for run in runs]
        problems = [
            f"{field}: {text}"
            for run in dict.fromkeys(runs)
            for field, text in limit_problems(config, run, dataset.info, memory)
        ]
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        self.config, self.runs, self.dataset = config, tuple(runs), dataset
        self.device, self.threads, self.dtype = torch.device(device), threads, dtype
        self.step = 0
        self._clock, self._loss = clock, LOSSES[config.loss]
        self._sketch = None
        if records(config, "outputs"):
            self._sketch = Sketch(len(dataset.test) * output_dim(config.loss, dataset.info))
        train, validation = split_training(dataset, config.validation_size)
        splits = {"test": dataset.test} | ({} if validation is None else {"validation": validation})

        def labels(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(self.device, dtype if dataset.target_dim else None)

        self._labels = {name: labels(split.labels) for name, split in splits.items()}
        places = {
            name: torch.from_numpy(split.inputs).to(self.device, dtype) for name, split in splits.items()
        }
        inputs = torch.from_numpy(train.inputs).to(self.device, dtype)
        self._material = Material(dataset, inputs, labels(train.labels), places)
        seeds = [run.seed if data_seed is None else data_seed for run in runs]
        self._batches = Batches(seeds, len(train), config.batch_size, self.device)
        self._slots: list[int] = self._batches.slot.tolist()
        self._standing = Standing(len(runs))
        self.limits = tuple(self._limit(run) for run in runs)
        with self._numerics():
            self.learners: list[Learner] = [
                self._learner(run, limit, seed)
                for run, limit, seed in zip(runs, self.limits, seeds, strict=True)
            ]
        self.calibrated_rates = {
            i: one.calibrated for i, one in enumerate(self.learners) if one.calibrated is not None
        }

    @property
    def dims(self) -> tuple[int, ...]:
        """Input dimension, and outputs: part of what identifies a pack."""
        return (self.dataset.input_dim, *self._material.labels.shape[1:])

    @property
    def finished(self) -> bool:
        """Whether all updates are done."""
        return self.step >= self.config.steps or self._standing.all_masked

    @property
    def diverged(self) -> dict[int, int]:
        """Position -> update, of all runs that have diverged."""
        return dict(self._standing.diverged)

    def stop(self, positions: Iterable[int]) -> None:
        """Let runs learn and record nothing from now on.

        Raises:
            IndexError: No such position.
        """
        for position in self._standing.checked(positions):
            self._standing.mask(position, self.step)

    def state(self) -> dict[str, Tensor]:
        """All that a checkpoint must hold, by name: views, valid until the next update."""
        tensors = {"step": torch.tensor(self.step), **self._standing.state()}
        for position, learner in enumerate(self.learners):
            tensors |= {f"{position}/{name}": tensor for name, tensor in learner.state().items()}
            if learner.calibrated is not None:
                tensors[f"calibrated/{position}"] = torch.tensor(learner.calibrated, dtype=torch.float64)
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the `state` of a trainer with the same configuration and runs."""
        self.step = int(tensors["step"])
        self._standing.load_state(tensors)
        with torch.inference_mode():
            for position, learner in enumerate(self.learners):
                learner.load_state(below(tensors, f"{position}/"))
                if learner.calibrated is not None:
                    learner.calibrated = tuple(tensors[f"calibrated/{position}"].tolist())
                    self.calibrated_rates[position] = learner.calibrated

    def misfits(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Names of tensors that no state has. Sizes grow with the step; the fingerprint says the rest."""
        parts = ("calibrated", *map(str, range(len(self.runs))))
        known = ("step", "last_step", "diverged")
        return sorted(n for n in tensors if n not in known and n.split("/")[0] not in parts)

    def advance(self, max_steps: int | None = None, max_seconds: float | None = None) -> Slice:
        """Train until a limit or the end; at least one update.

        Args:
            max_steps: Most updates, >= 1.
            max_seconds: Ends after the first update beyond this time.

        Returns:
            The slice; empty if `finished`.

        Raises:
            ValueError: `max_steps` below 1.
        """
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, not {max_steps}")
        begun, first, known = time.monotonic(), self.step + 1, set(self._standing.diverged)
        end = self.config.steps if max_steps is None else min(self.config.steps, self.step + max_steps)
        recorder = Recorder(metric_names(self.config))
        with self._numerics():
            if self.step == 0 and not self.finished:
                self._record_outputs(recorder)
            while self.step < end and not self.finished:
                self._update(recorder)
                if max_seconds is not None and time.monotonic() - begun >= max_seconds:
                    break
        diverged = {p: step for p, step in self._standing.diverged.items() if p not in known}
        points = recorder.points(self._standing.last_step)
        return Slice(first, self.step, points, diverged, time.monotonic() - begun)

    def outputs(self, position: int, place: str = "test") -> Tensor:
        """Outputs of a run as it is now, (R, n, C): of every replica at all inputs of a split."""
        with self._numerics():
            return self.learners[position].outputs(place).clone()

    def _limit(self, run: RunConfig) -> Limit | None:
        if self.config.deferred:
            return None
        found = limit_of_run(self.config, run)
        if not isinstance(found, Limit):
            raise ConfigError([found.sentence])
        return found

    def _learner(self, run: RunConfig, limit: Limit | None, data_seed: int) -> Learner:
        if limit is None:
            return DeferredLearner(self.config, run, self._material, self.dtype)
        if limit.kind == "kernel":
            return KernelLearner(self.config, run, self._material, limit, data_seed)
        return ParticleLearner(self.config, run, self._material, limit, self.dtype)

    def _update(self, recorder: Recorder) -> None:
        batch, due = self._batches.at(self.step + 1).long(), training_metrics_due(self.config, self.step + 1)
        losses, hits = np.full(len(self.runs), np.nan), np.full(len(self.runs), np.nan)
        for position, learner in enumerate(self.learners):
            if self._standing.masked[position]:
                continue
            rows = batch[self._slots[position]]
            f = learner.update(self.step, rows).mean(dim=0)
            labels = self._material.labels[rows]
            losses[position] = float(self._loss.values(f, labels).mean(dtype=torch.float64))
            if due and not self.dataset.target_dim:
                hits[position] = float(correct(f, labels).double().mean())
        self.step += 1
        if due:
            now = self._now_ms()
            recorder.add("train_loss", self.step, now, losses)
            if not self.dataset.target_dim:
                recorder.add("train_accuracy", self.step, now, hits)
        for position in np.flatnonzero(~np.isfinite(losses) & ~self._standing.masked).tolist():
            self._standing.diverge(position, self.step)
        self._record_outputs(recorder)

    def _record_outputs(self, recorder: Recorder) -> None:
        """The metrics of outputs that are due at this step, from one evaluation."""
        evaluated, sketched = test_metrics_due(self.config, self.step), outputs_due(self.config, self.step)
        for place, labels in self._labels.items():
            if evaluated or (sketched and place == "test"):
                self._record_place(recorder, place, labels, evaluated, sketched and place == "test")

    def _record_place(
        self, recorder: Recorder, place: str, labels: Tensor, evaluated: bool, sketched: bool
    ) -> None:
        now, count = self._now_ms(), len(self.runs)
        loss, accuracy, error = (np.full(count, np.nan) for _ in range(3))
        sketches = np.full((count, len(OUTPUTS.metrics)), np.nan)
        for position, learner in enumerate(self.learners):
            if self._standing.masked[position]:
                continue
            replicas = learner.outputs(place)
            f = replicas.mean(dim=0)
            loss[position] = float(self._loss.values(f, labels).mean(dtype=torch.float64))
            if not self.dataset.target_dim:
                accuracy[position] = float(correct(f, labels).double().mean())
            if self.config.infinite_width:
                error[position] = replica_error(replicas)
            if self._sketch is not None and sketched:
                sketches[position] = self._sketch.of([f[None]], 1)[0]
            if self.step == self.config.steps and not np.isfinite(loss[position]):
                self._standing.diverge(position, self.step)
        if evaluated:
            recorder.add(f"{place}_loss", self.step, now, loss)
            if not self.dataset.target_dim:
                recorder.add(f"{place}_accuracy", self.step, now, accuracy)
        if place == "test" and self.config.infinite_width:
            recorder.add(LIMIT_ERROR, self.step, now, error)
        if sketched:
            for metric, values in zip(OUTPUTS.metrics, sketches.T, strict=True):
                recorder.add(metric, self.step, now, values)

    @contextmanager
    def _numerics(self) -> Iterator[None]:
        with thread_count(self.threads), matmul_precision(self.config.precision), torch.inference_mode():
            yield

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


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


def trainer_of(
    config: PackConfig,
    runs: Sequence[RunConfig],
    dataset: Dataset,
    *,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    memory: int | None = None,
) -> Trainer | LimitTrainer:
    """The trainer of a pack: of dense networks, of deferred weights or of limits.

    Raises:
        ConfigError: It cannot be trained; names every reason.
    """
    if config.infinite_width or config.deferred:
        return LimitTrainer(config, runs, dataset, device=device, threads=threads, memory=memory)
    return Trainer(config, runs, dataset, device=device, threads=threads)
