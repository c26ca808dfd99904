"""Checkpoints of an attempt at a pack: the one that it resumes from, and those that it writes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import ipcore.training.checkpoint
from ipcore.errors import CheckpointError
from ipcore.training.checkpoint import Resumable, Snapshot
from ipserver.artifacts import ArtifactStore
from ipserver.artifacts.locations import checkpoints_folder
from ipserver.errors import ArtifactDamaged, ArtifactsUnavailable
from ipserver.store.records.files import CheckpointRecord
from ipserver.workers.jobs import PackJob
from ipserver.workers.storing import put

_Trainer = TypeVar("_Trainer", bound=Resumable)


class Checkpoints:
    """Reads and writes the checkpoints of one attempt.

    Args:
        job: The attempt.
        artifacts: Holds the files.
        notices: Takes messages for the experiment's events.
        monotonic: Clock for the time between checkpoints, in seconds.
        behind: Whether checkpoints are written in the background, while training continues.
    """

    def __init__(
        self,
        job: PackJob,
        artifacts: ArtifactStore,
        notices: list[str],
        monotonic: Callable[[], float],
        *,
        behind: bool,
    ) -> None:
        self._job, self._artifacts, self._notices = job, artifacts, notices
        self._monotonic, self._behind = monotonic, behind
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        # The checkpoint that is being written, and its step.
        self._writing: Future[CheckpointRecord] | None = None
        self._writing_step = 0
        self._time = monotonic()

    def resumed(self, build: Callable[[], _Trainer]) -> _Trainer:
        """A new trainer, resumed from the newest valid checkpoint, if there is one."""
        trainer = build()
        for record in self._job.checkpoints:
            try:
                with self._artifacts.reading(record.path, record.sha256) as path:
                    changed = ipcore.training.checkpoint.restore(trainer, path)
            except (CheckpointError, ArtifactDamaged) as error:
                self._notices.append(f"checkpoint of step {record.step} not used: {error}")
                trainer = build()
            else:
                self._notices.append(f"resumed from the checkpoint of step {record.step}")
                self._notices += changed
                break
        return trainer

    def keep(self, trainer: Resumable, *, now: bool) -> CheckpointRecord | None:
        """A written checkpoint, if any. Starts one if it is due, and waits for it if `now`."""
        patient = now or not self._behind
        saved = self._written(patient=patient)
        due = self._monotonic() - self._time >= self._job.checkpoint_seconds
        if self._writing is None and (due or (now and (saved is None or saved.step < trainer.step))):
            snapshot = ipcore.training.checkpoint.take(trainer, copy=self._behind)
            self._writing = self._writer.submit(self._write, snapshot)
            self._writing_step = snapshot.step
            saved = self._written(patient=patient) or saved
        return saved

    def wait(self) -> None:
        """Wait until no file is being written."""
        if self._writing is not None:
            wait([self._writing])

    def _written(self, *, patient: bool) -> CheckpointRecord | None:
        """The finished checkpoint, if any. A failed write is reported in a notice, and training continues."""
        if self._writing is None or not (patient or self._writing.done()):
            return None
        try:
            return self._writing.result()
        except ArtifactsUnavailable as error:
            self._notices.append(f"no checkpoint of step {self._writing_step}: {error}")
            return None
        finally:
            self._writing = None
            # Count from the end of the write, so that slow writes leave time for training.
            self._time = self._monotonic()

    def _write(self, snapshot: Snapshot) -> CheckpointRecord:
        job = self._job
        folder = checkpoints_folder(job.experiment, job.pack)
        location = f"{folder}/{job.token}/step-{snapshot.step:08d}.safetensors"
        write = functools.partial(snapshot.write, durable=False)
        file = put(self._artifacts, "checkpoint", location, write)
        return CheckpointRecord(location, file.size_bytes, file.sha256, snapshot.step)
