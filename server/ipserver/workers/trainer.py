"""PackTrainer: trains one pack slice by slice and reports what each slice changes.

It knows neither Ray nor the store: it gets a job, writes files to the artifact store, and returns values.
"""

from __future__ import annotations

import gc
import importlib
import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
import torch

from ipcore.errors import DataError
from ipcore.limits.trainer import LimitTrainer, trainer_of
from ipcore.planning.machine import MachineProfile
from ipcore.training import profiling
from ipcore.training.slices import Slice
from ipcore.training.trainer import Trainer
from ipserver.artifacts import open_artifacts
from ipserver.request.resources import ResourceRequest
from ipserver.store import segments
from ipserver.store.records.slices import SliceCommit
from ipserver.store.states import RunState
from ipserver.store.summary import Summary
from ipserver.workers.checkpoints import Checkpoints
from ipserver.workers.datasets import cached_dataset, digest
from ipserver.workers.failures import LogTail, failure
from ipserver.workers.jobs import PackJob, Repeated, SliceReport
from ipserver.workers.summaries import fold
from ipserver.workers.weights import keep_weights

AnyTrainer = Trainer | LimitTrainer
_log = logging.getLogger(__name__)


class PackTrainer:
    """One attempt at a pack.

    Nothing is loaded before the first slice, so that every error is returned as a `SliceReport` with its
    traceback and the last lines of the log.

    Args:
        job: The job.
        monotonic: Clock for the time between checkpoints, in seconds.
        behind: Whether checkpoints are written in the background during the next slice and reported with the
            slice after it; None: only on a GPU. (On the CPU this would use the training core and copy all
            weights.)
    """

    def __init__(
        self, job: PackJob, monotonic: Callable[[], float] = time.monotonic, *, behind: bool | None = None
    ) -> None:
        self._job = job
        self._monotonic = monotonic
        self._artifacts = open_artifacts(job.artifact_root)
        self._notices: list[str] = []
        behind = job.resources.gpus > 0 if behind is None else behind
        self._checkpoints = Checkpoints(job, self._artifacts, self._notices, monotonic, behind=behind)
        self._log = LogTail()
        self._trainer: AnyTrainer | None = None
        self._summaries: dict[int, Summary] = dict(zip(job.run_indices, job.summaries, strict=True))
        self._ended = set(job.ended)
        self._idle_since: float | None = None

    def advance(self, ended: Collection[int] = (), *, checkpoint: bool = False) -> SliceReport:
        """Train a slice of about `job.slice_seconds`.

        Args:
            ended: Indices of terminal runs, such as cancelled ones; they stay in the batch, masked.
            checkpoint: Train at most one update and write a checkpoint, because the caller waits for it.

        Returns:
            The slice to commit, or the failure; never raises.
        """
        begun = self._monotonic()
        idle = 0.0 if self._idle_since is None else begun - self._idle_since
        try:
            with self._log:
                done = self._advance(ended, checkpoint)
        except Exception as error:
            # The worker's boundary: every error becomes a report with its reason and traceback.
            report = SliceReport(failure=failure(error, self._log.text()))
        else:
            notices = tuple(f"pack {self._job.pack}: {text}" for text in self._notices)
            self._notices.clear()
            commit, repeated = (None, done) if isinstance(done, Repeated) else (done, None)
            report = SliceReport(commit, repeated, notices=notices, idle_seconds=idle)
        if report.failure is not None:
            # Free the pack's memory before another is tried; threads' exceptions are in reference cycles.
            self._trainer = None
            gc.collect()
        self._idle_since = self._monotonic()
        return report

    def _advance(self, ended: Collection[int], checkpoint: bool) -> SliceCommit | Repeated:
        job = self._job
        trainer = self._trainer = self._trainer or self._prepare()
        self._mask(trainer, ended)
        if trainer.step < job.committed_steps and not trainer.finished:
            return self._repeat(trainer, checkpoint)
        first_slice = trainer.step == 0
        artifacts = keep_weights(job, self._artifacts, trainer, self._ended) if first_slice else []
        part = trainer.advance(max_seconds=0.0 if checkpoint else job.slice_seconds)
        self._fold(part)
        newly_ended = self._diverged(trainer)
        self._ended |= newly_ended.keys()
        artifacts += keep_weights(job, self._artifacts, trainer, self._ended)
        if trainer.finished:
            newly_ended |= dict.fromkeys(set(job.run_indices) - self._ended, RunState.SUCCEEDED)
            self._ended.update(job.run_indices)
        done = trainer.finished or self._ended.issuperset(job.run_indices)
        if done:
            self._checkpoints.wait()  # no file may be written after the pack has ended
        return SliceCommit(
            first_step=part.first_step,
            last_step=part.last_step,
            segment=self._segment(part),
            summaries=dict(self._summaries),
            ended=newly_ended,
            calibrated_rates={job.run_indices[k]: rates for k, rates in trainer.calibrated_rates.items()}
            if first_slice
            else {},
            artifacts=tuple(artifacts),
            checkpoint=None if done else self._checkpoints.keep(trainer, now=checkpoint),
            finished=done,
            dataset_sha256=digest(trainer.dataset),
        )

    def _prepare(self) -> AnyTrainer:
        """Build the pack and resume from the newest valid checkpoint."""
        job = self._job
        device = _device(job.resources)
        threads = math.ceil(job.resources.cpus)
        torch.set_num_threads(threads)
        dataset = cached_dataset(job.config.dataset, job.data_root)
        if job.dataset_sha256 not in (None, digest(dataset)):
            raise DataError(
                f"the file of {dataset.name!r} has changed since the first steps were committed: its numbers "
                f"had SHA-256 {job.dataset_sha256} and now have {dataset.digest}; put the former file back, "
                "or submit the experiment again under a new name of the file"
            )

        def build() -> AnyTrainer:
            return trainer_of(job.config, job.runs, dataset, device=device, threads=threads)

        trainer = self._checkpoints.resumed(build)
        self._mask(trainer, job.ended)
        if trainer.step < job.committed_steps:
            self._notices.append(f"trains steps {trainer.step + 1} to {job.committed_steps} again")
        return trainer

    def _repeat(self, trainer: AnyTrainer, checkpoint: bool) -> Repeated:
        """Repeat a slice of committed steps. It yields the same numbers, which are discarded."""
        committed = self._job.committed_steps
        seconds = 0.0 if checkpoint else self._job.slice_seconds
        trainer.advance(max_steps=committed - trainer.step, max_seconds=seconds)
        saved = self._checkpoints.keep(trainer, now=checkpoint)
        if saved is not None or trainer.step == committed:
            self._notices.append(f"at step {trainer.step} of {committed} again")
        return Repeated(saved)

    def _mask(self, trainer: AnyTrainer, ended: Collection[int]) -> None:
        positions = [k for k, index in enumerate(self._job.run_indices) if index in ended]
        self._ended.update(index for index in self._job.run_indices if index in ended)
        trainer.stop(positions)

    def _fold(self, part: Slice) -> None:
        """Update the summaries."""
        indices = self._job.run_indices
        rows = (
            (indices[position], metric, step, value) for position, metric, step, value in part.points.rows()
        )
        fold(self._summaries, rows, self._job.config.steps)

    def _diverged(self, trainer: AnyTrainer) -> dict[int, RunState]:
        """Runs that have diverged and are not terminal yet.

        Includes runs that diverged in earlier slices: on a different machine, a run may diverge in the
        repeated part.
        """
        found: dict[int, RunState] = {}
        for position, step in trainer.diverged.items():
            index = self._job.run_indices[position]
            if index not in self._ended:
                self._summaries[index] = replace(self._summaries[index], diverged_step=step)
                found[index] = RunState.DIVERGED
        return found

    def _segment(self, part: Slice) -> bytes:
        points = part.points
        indices = np.asarray(self._job.run_indices, dtype=np.int32)[points.run]
        return segments.encode(
            indices, points.metric, points.metrics, points.step, points.time_ms, points.value
        )


def warm() -> None:
    """Import what the first pack needs: the embedded dataset and the format of weight files."""
    importlib.import_module("safetensors.torch")
    cached_dataset("digits", None)


def measure(resources: ResourceRequest) -> MachineProfile:
    """Measure the speed of a worker with these resources, by half a second of training."""
    return profiling.measure(_device(resources), math.ceil(resources.cpus))


def _device(resources: ResourceRequest) -> str:
    return "cuda" if resources.gpus > 0 else "cpu"
