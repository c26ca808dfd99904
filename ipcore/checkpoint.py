"""Checkpoints of a trainer: safetensors with a header, written whole or not at all.

A checkpoint holds what cannot be computed again: effective weights, step, masks, calibrated rates. Batches
are a function of the step. Training resumed from it is the uninterrupted one bit for bit, given the same
device type, thread count and library versions; the header records these.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import torch

from ipcore.errors import CheckpointError
from ipcore.files import read_tensors, write_tensors
from ipcore.trainer import Trainer

FORMAT: Final = "iplab-checkpoint/1"


def fingerprint(trainer: Trainer) -> str:
    """SHA-256 of everything that determines the numbers of a pack: configuration, runs, data sizes, dtype."""
    data = (len(trainer.dataset.train), len(trainer.dataset.test), trainer.pack.shape.dims)
    text = repr((trainer.config, trainer.runs, data, trainer.pack.dtype))
    return hashlib.sha256(text.encode()).hexdigest()


def save(trainer: Trainer, path: str | Path) -> None:
    """Write a checkpoint (beside `path`, flushed, renamed).

    Raises:
        OSError: The file cannot be written.
    """
    header = {"format": FORMAT, "fingerprint": fingerprint(trainer), **_environment(trainer)}
    write_tensors(path, trainer.state(), header)


def restore(trainer: Trainer, path: str | Path) -> tuple[str, ...]:
    """Bring a freshly made trainer of the same pack to the state of a checkpoint.

    Returns:
        Sentences on what differs from where the checkpoint was written; if there are any, training goes on
        but need not be bit for bit the uninterrupted one.

    Raises:
        CheckpointError: The file is missing, torn, not a checkpoint, or of another pack. The trainer is
            unchanged.
    """
    try:
        tensors, header = read_tensors(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint cannot be used: {error}") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {header.get('format')!r}, not {FORMAT!r}")
    if header.get("fingerprint") != fingerprint(trainer):
        raise CheckpointError(f"{path} belongs to another pack (configuration, runs, data or dtype differ)")
    trainer.load_state(tensors)
    now = _environment(trainer)
    return tuple(
        f"checkpoint was written with {key} {header.get(key)}, now {value}"
        for key, value in now.items()
        if header.get(key) != value
    )


def _environment(trainer: Trainer) -> dict[str, str]:
    return {
        "device": trainer.device.type,
        "threads": str(trainer.threads or torch.get_num_threads()),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
