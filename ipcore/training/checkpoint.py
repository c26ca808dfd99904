"""Checkpoints of a trainer: safetensors with a header, written whole or not at all.

A checkpoint holds the values that cannot be computed again: effective weights and biases, the optimizer's
velocity or moments, step, masks, calibrated rates. Batches, schedules and initial weights (which re-weighting
and probes need again) are functions of the step and the seed. Training resumed from it is the uninterrupted
one bit for bit, given the same kind of processor, thread count and versions; the header records these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch

from ipcore.catalogue import REGISTERED
from ipcore.config import Calibration, OptimizerSettings, PackConfig, Probes, RunConfig, Schedule
from ipcore.data import Dataset
from ipcore.errors import CheckpointError, DataError
from ipcore.models import MODELS, ResidualMlp
from ipcore.models.files import read_tensors, write_tensors


class Resumable(Protocol):
    """A trainer with a state that checkpoints hold: of dense networks, or of limits."""

    @property
    def format(self) -> str:
        """Format of its checkpoints; to be raised when the content of `state`, or its meaning, changes."""
        ...

    @property
    def config(self) -> PackConfig: ...  # noqa: D102
    @property
    def runs(self) -> tuple[RunConfig, ...]: ...  # noqa: D102
    @property
    def dataset(self) -> Dataset: ...  # noqa: D102
    @property
    def dims(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> torch.dtype: ...  # noqa: D102
    @property
    def device(self) -> torch.device: ...  # noqa: D102
    @property
    def threads(self) -> int | None: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors of a checkpoint, by name."""
        ...

    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over a `state`."""
        ...

    def misfits(self, tensors: Mapping[str, torch.Tensor]) -> list[str]:
        """Names of tensors that this version does not resume from."""
        ...


def fingerprint(trainer: Resumable) -> str:
    """SHA-256 of everything that determines the numbers of a pack: configuration, runs, data, dtype.

    The data enter by the digest of their numbers (`Dataset.digest`), not by their name.
    """
    data = (trainer.dataset.digest, trainer.dims)
    text = f"({_text(trainer.config)}, {_text(trainer.runs)}, {data!r}, {trainer.dtype!r})"
    return hashlib.sha256(text.encode()).hexdigest()


# Fields that the first version had. Later ones are left out of texts where they have their defaults, so
# checkpoints of versions that did not know them are still read.
_FIRST: Final[Mapping[type, Sequence[str]]] = {
    **dict.fromkeys(MODELS.values(), ()),
    ResidualMlp: ["branch_multiplier", "block_matrices"],
    PackConfig: [
        "dataset",
        "hidden_layers",
        "width",
        "activation",
        "batch_size",
        "steps",
        "loss",
        "bias",
        "optimizer",
        "metrics_interval",
        "evaluation_interval",
        "weights",
        "weights_interval",
        "validation_size",
        "schedule",
        "probes",
        "precision",
    ],
    RunConfig: ["parameterization", "base_learning_rate", "seed", "calibration", "settings"],
    OptimizerSettings: ["momentum", "beta1", "beta2", "epsilon", "weight_decay", "newton_schulz_steps"],
    Schedule: ["name", "warmup_steps", "final_fraction", "milestones", "decay"],
    Probes: ["quantities", "layers", "steps", "interval", "examples"],
    Calibration: ["readout_target", "cap"],
}


def _text(value: object) -> str:
    """As `repr`, without later fields that have their defaults."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    if (first := _FIRST.get(type(value))) is None:
        return repr(value)
    shown = [
        f"{field.name}={_text(given)}"
        for field in fields(value)  # type: ignore[arg-type]
        if (given := getattr(value, field.name)) != field.default or field.name in first
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


@dataclass(frozen=True, eq=False, slots=True)
class Snapshot:
    """A trainer's state at one step, on the CPU, with what identifies it.

    Attributes:
        step: Updates done.
        tensors: As `Trainer.state` names them.
        header: Header of the file.
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


def take(trainer: Resumable, *, copy: bool = False) -> Snapshot:
    """The state of a trainer.

    Args:
        trainer: Any.
        copy: Whether the snapshot outlives the trainer's next update. (From a GPU it always does.)
    """
    tensors = {name: tensor.detach().to("cpu", copy=copy) for name, tensor in trainer.state().items()}
    header = {
        "format": trainer.format,
        "fingerprint": fingerprint(trainer),
        "dataset": trainer.dataset.name,
        "dataset_sha256": trainer.dataset.digest,
        **_environment(trainer),
    }
    return Snapshot(trainer.step, tensors, header)


def save(trainer: Resumable, path: str | Path) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    take(trainer).write(path)


def restore(trainer: Resumable, path: str | Path) -> tuple[str, ...]:
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
    if header.get("format") != trainer.format:
        raise CheckpointError(f"{path} has format {header.get('format')!r}, not {trainer.format!r}")
    if _replaced(header, trainer):
        raise DataError(
            f"the file of {trainer.dataset.name!r} has changed since the checkpoint was written: its numbers "
            f"had SHA-256 {header['dataset_sha256']} and now have {trainer.dataset.digest}; put the former "
            "file back, or submit the experiment again under a new name of the file"
        )
    if header.get("fingerprint") != fingerprint(trainer):
        raise CheckpointError(f"{path} belongs to another pack (configuration, runs, data or dtype differ)")
    if wrong := trainer.misfits(tensors):
        raise CheckpointError(f"{path} does not hold what this version resumes from: {', '.join(wrong)}")
    trainer.load_state(tensors)
    now = _environment(trainer)
    return tuple(
        f"checkpoint was written with {key} {header.get(key)}, now {value}"
        for key, value in now.items()
        if header.get(key) != value
    )


def _replaced(header: Mapping[str, str], trainer: Resumable) -> bool:
    """Whether the registered file holds other numbers now. Other datasets are identified by their names."""
    name, digest = header.get("dataset"), header.get("dataset_sha256")
    same_file = name == trainer.dataset.name and trainer.dataset.name.startswith(REGISTERED)
    return same_file and digest is not None and digest != trainer.dataset.digest


def _environment(trainer: Resumable) -> dict[str, str]:
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
