"""Training of runs at m = infinity, or with deferred weights, slice by slice.

It has the interface of `ipcore.training.trainer.Trainer` and records the same metrics, so that a limit is
trained like any other run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.losses import LOSSES, correct
from ipcore.errors import ConfigError
from ipcore.limits.kinds import limit_of_run
from ipcore.limits.learners import DeferredLearner, KernelLearner, Learner, Material, ParticleLearner
from ipcore.limits.limit import Limit
from ipcore.limits.measurements import Measurements
from ipcore.limits.particles import below
from ipcore.limits.problems import limit_problems
from ipcore.training.batches import Batches
from ipcore.training.holdout import split_training
from ipcore.training.recording import Recorder, training_metrics_due
from ipcore.training.slices import SlicedTrainer
from ipcore.training.trainer import Trainer


class LimitTrainer(SlicedTrainer):
    """Runs of one pack with `infinite_width` or `deferred`; each trains on its own.

    Attributes:
        learners: One per run.
        limits: Limit of each run; None for deferred weights.

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
        super().__init__(config, runs, dataset, device=device, threads=threads, dtype=dtype, clock=clock)
        config, runs = self.config, self.runs
        problems = [
            f"{field}: {text}"
            for run in dict.fromkeys(runs)
            for field, text in limit_problems(config, run, dataset.info, memory)
        ]
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        self._loss = LOSSES[config.loss]
        train, validation = split_training(dataset, config.validation_size)
        splits = {"test": dataset.test} | ({} if validation is None else {"validation": validation})

        def labels(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(self.device, dtype if dataset.target_dim else None)

        self._measurements = Measurements(
            config, dataset, {name: labels(split.labels) for name, split in splits.items()}
        )
        places = {
            name: torch.from_numpy(split.inputs).to(self.device, dtype) for name, split in splits.items()
        }
        inputs = torch.from_numpy(train.inputs).to(self.device, dtype)
        self._material = Material(dataset, inputs, labels(train.labels), places)
        seeds = [run.seed if data_seed is None else data_seed for run in runs]
        self._batches = Batches(seeds, len(train), config.batch_size, self.device)
        self._slots: list[int] = self._batches.slot.tolist()
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

    def _measure_start(self, recorder: Recorder) -> None:
        self._measure(recorder)

    def _train(self, end: int, recorder: Recorder, deadline: float | None) -> None:
        """One update of every run."""
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
            now = recorder.now_ms()
            recorder.add("train_loss", self.step, now, losses)
            if not self.dataset.target_dim:
                recorder.add("train_accuracy", self.step, now, hits)
        for position in np.flatnonzero(~np.isfinite(losses) & ~self._standing.masked).tolist():
            self._standing.diverge(position, self.step)
        self._measure(recorder)

    def _measure(self, recorder: Recorder) -> None:
        """Record what is due at this step, and mask runs that have diverged at the last one."""
        live = {position: self.learners[position] for position in self._standing.live}
        lost = self._measurements.record(recorder, self.step, live, len(self.runs))
        if self.step == self.config.steps:
            for position in sorted(lost):
                self._standing.diverge(position, self.step)


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
