"""Checkpoints of a trainer: safetensors with a header, written whole or not at all.

A checkpoint holds what cannot be computed again: effective weights and biases, the optimizer's velocity or
moments, step, masks, calibrated rates. Batches, schedules and initial weights (which re-weighting and probes
need again) are functions of the step and the seed. Training resumed from it is the uninterrupted one bit for
bit, given the same kind of processor, thread count and versions; the header records these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np
import torch

from ipcore.catalogue import REGISTERED
from ipcore.config import PackConfig
from ipcore.errors import CheckpointError, DataError
from ipcore.models import MLP
from ipcore.models.files import read_tensors, write_tensors
from ipcore.training.trainer import Trainer

# Raise this when the content of `Trainer.state`, or its meaning, changes.
FORMAT: Final = "iplab-checkpoint/1"


def fingerprint(trainer: Trainer) -> str:
    """SHA-256 of everything that determines the numbers of a pack: configuration, runs, data, dtype.

    The data enter by the digest of their numbers (`Dataset.digest`), not by their name.
    """
    data = (trainer.dataset.digest, trainer.pack.shape.dims)
    text = f"({_text(trainer.config)}, {trainer.runs!r}, {data!r}, {trainer.pack.dtype!r})"
    return hashlib.sha256(text.encode()).hexdigest()


def _text(config: PackConfig) -> str:
    """A configuration as text; for a multilayer perceptron, as in versions that had no other model."""
    shown = [field for field in fields(config) if field.name != "model" or config.model != MLP]
    return f"PackConfig({', '.join(f'{field.name}={getattr(config, field.name)!r}' for field in shown)})"


@dataclass(frozen=True, eq=False, slots=True)
class Snapshot:
    """A trainer's state at one step, on the CPU, with what identifies it.

    Attributes:
        step: Updates done.
        tensors: As `Trainer.state` names them.
        header: Of the file.
    """

    step: int
    tensors: Mapping[str, torch.Tensor]
    header: Mapping[str, str]

    def write(self, path: str | Path, *, durable: bool = True) -> None:
        """Write it (beside `path`, flushed, renamed; `durable` as in `ipcore.models.files.write_tensors`).

        Raises:
            OSError: The file cannot be written.
        """
        write_tensors(path, self.tensors, self.header, durable=durable)


def take(trainer: Trainer, *, copy: bool = False) -> Snapshot:
    """The state of a trainer.

    Args:
        trainer: Any.
        copy: Whether the snapshot outlives the trainer's next update. (From a GPU it always does.)
    """
    tensors = {name: tensor.detach().to("cpu", copy=copy) for name, tensor in trainer.state().items()}
    header = {
        "format": FORMAT,
        "fingerprint": fingerprint(trainer),
        "dataset": trainer.dataset.name,
        "dataset_sha256": trainer.dataset.digest,
        **_environment(trainer),
    }
    return Snapshot(trainer.step, tensors, header)


def save(trainer: Trainer, path: str | Path) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    take(trainer).write(path)


def restore(trainer: Trainer, path: str | Path) -> tuple[str, ...]:
    """Bring a freshly made trainer of the same pack to the state of a checkpoint.

    Returns:
        One sentence per difference to the machine that wrote the checkpoint. If there are any, training
        continues but may not match the uninterrupted one bit for bit.

    Raises:
        CheckpointError: The file is missing, torn, not a checkpoint, of another pack or of a version that
            kept other tensors. The trainer is unchanged.
        DataError: The registered file that it was trained on has been replaced since; continuing would mix
            two datasets in one run. The trainer is unchanged.
    """
    try:
        tensors, header = read_tensors(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint cannot be used: {error}") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {header.get('format')!r}, not {FORMAT!r}")
    if _replaced(header, trainer):
        raise DataError(
            f"the file of {trainer.dataset.name!r} has changed since the checkpoint was written: its numbers "
            f"had SHA-256 {header['dataset_sha256']} and now have {trainer.dataset.digest}; put the former "
            "file back, or submit the experiment again under a new name of the file"
        )
    if header.get("fingerprint") != fingerprint(trainer):
        raise CheckpointError(f"{path} belongs to another pack (configuration, runs, data or dtype differ)")
    if wrong := _wrong_tensors(tensors, trainer.state()):
        raise CheckpointError(f"{path} does not hold what this version resumes from: {', '.join(wrong)}")
    trainer.load_state(tensors)
    now = _environment(trainer)
    return tuple(
        f"checkpoint was written with {key} {header.get(key)}, now {value}"
        for key, value in now.items()
        if header.get(key) != value
    )


def _replaced(header: Mapping[str, str], trainer: Trainer) -> bool:
    """Whether the registered file holds other numbers now. Other datasets are identified by their names."""
    name, digest = header.get("dataset"), header.get("dataset_sha256")
    same_file = name == trainer.dataset.name and trainer.dataset.name.startswith(REGISTERED)
    return same_file and digest is not None and digest != trainer.dataset.digest


def _wrong_tensors(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of tensors that are missing, unknown, or of another shape or type."""
    kinds = [{name: (tensor.shape, tensor.dtype) for name, tensor in d.items()} for d in (found, expected)]
    return sorted({name for name, _ in kinds[0].items() ^ kinds[1].items()})


def _environment(trainer: Trainer) -> dict[str, str]:
    device = trainer.device
    cpu = device.type == "cpu"
    try:
        iplab = version("iplab")
    except PackageNotFoundError:  # `ipcore` from a source tree that is not installed
        iplab = "unknown"
    return {
        "device": device.type,
        "processor": torch.backends.cpu.get_cpu_capability() if cpu else torch.cuda.get_device_name(device),
        "iplab": iplab,
        "threads": str(trainer.threads or torch.get_num_threads()),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
