"""Weight files of an attempt at a pack: when they are due, and their writing."""

from __future__ import annotations

import functools
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from ipcore.limits.trainer import LimitTrainer
from ipcore.training.recording import weights_due
from ipcore.training.trainer import Trainer
from ipserver.artifacts import ArtifactStore
from ipserver.artifacts.locations import weights_folder
from ipserver.names import run_id, run_name
from ipserver.store.records.files import NewArtifact
from ipserver.workers.jobs import PackJob
from ipserver.workers.storing import put

# Maximum number of weight files written at once, and so of their weights in memory.
_WRITERS, _WRITING_BYTES = 4, 64 << 20


def keep_weights(
    job: PackJob, artifacts: ArtifactStore, trainer: Trainer | LimitTrainer, ended: Collection[int]
) -> list[NewArtifact]:
    """Write the weights of live runs that are due at this step. Those of committed steps exist already.

    Args:
        job: The attempt.
        artifacts: Takes the files.
        trainer: The trainer of the pack.
        ended: Indices of terminal runs.
    """
    stem = weights_due(job.config, trainer.step)
    if stem is None or (trainer.step <= job.committed_steps and trainer.step > 0):
        return []
    if isinstance(trainer, LimitTrainer):
        raise TypeError("a limit has no weights; the service accepts no spec that keeps them")
    live = [position for position, index in enumerate(job.run_indices) if index not in ended]
    write = functools.partial(_write, job, artifacts, trainer, f"{stem}.safetensors")
    # Several at once: writing a file mostly waits for the disk or for S3.
    size = sum(weight[0].nbytes for weight in trainer.pack.weights)
    with ThreadPoolExecutor(max(1, min(_WRITERS, _WRITING_BYTES // size))) as pool:
        return list(pool.map(write, live))


def _write(job: PackJob, artifacts: ArtifactStore, trainer: Trainer, name: str, position: int) -> NewArtifact:
    index = job.run_indices[position]
    location = f"{weights_folder(job.experiment, job.pack)}/{job.token}/{run_id(index)}-{name}"
    extra = {
        "label": job.labels[position],
        "run": run_name(job.experiment, index),
        "dataset_sha256": trainer.dataset.digest,
    }
    # The artifact store itself makes files atomic and durable.
    save = functools.partial(trainer.network(position).save, extra=extra, durable=False)
    file = put(artifacts, "weights", location, save)
    return NewArtifact(index, f"weights/{name}", location, file.size_bytes, file.sha256, trainer.step)
