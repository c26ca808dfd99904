"""Whether a pack can be trained: every problem at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ipcore.catalogue import ACTIVATIONS, BIASES, LOSSES, OPTIMIZERS
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.errors import ConfigError, unknown
from ipcore.losses import LOSSES as LOSS_FUNCTIONS
from ipcore.theory import untrainable_reason

_WEIGHTS = ("none", "final", "initial_and_final", "every")
_LARGEST_SEED = 2**32 - 1


def check_pack(config: PackConfig, runs: Sequence[RunConfig], dataset: Dataset) -> None:
    """Check that these runs can be trained as one pack on this dataset.

    Raises:
        ConfigError: Names every wrong field.
    """
    problems = [*_config_problems(config), *_dataset_problems(config, dataset)]
    if not runs:
        problems.append("runs: a pack has at least one run")
    for position, run in enumerate(runs):
        problems += [f"runs[{position}].{text}" for text in _run_problems(config, run)]
    if problems:
        raise ConfigError(problems)
    for split in (dataset.train, dataset.test):
        LOSS_FUNCTIONS[config.loss].check_labels(split.labels, dataset.classes)


def _config_problems(config: PackConfig) -> list[str]:
    problems = []
    names: tuple[tuple[str, str, Sequence[str]], ...] = (
        ("activation", config.activation, ACTIVATIONS),
        ("loss", config.loss, LOSSES),
        ("bias", config.bias, BIASES),
        ("optimizer", config.optimizer, OPTIMIZERS),
        ("weights", config.weights, _WEIGHTS),
    )
    problems += [
        f"{field}: {unknown(field, name, known)}" for field, name, known in names if name not in known
    ]
    lowest = {"hidden_layers": 1, "width": 1, "batch_size": 1, "steps": 1, "metrics_interval": 1}
    lowest |= {"evaluation_interval": 0, "weights_interval": 1 if config.weights == "every" else 0}
    for field, least in lowest.items():
        value = getattr(config, field)
        if value < least:
            problems.append(f"{field}: must be at least {least}, not {value}")
    return problems


def _dataset_problems(config: PackConfig, dataset: Dataset) -> list[str]:
    problems = []
    if config.dataset != dataset.name:
        problems.append(f"dataset: the pack names {config.dataset!r} but was given {dataset.name!r}")
    if config.batch_size > len(dataset.train):
        size = len(dataset.train)
        problems.append(f"batch_size: {config.batch_size} is more than the {size} training examples")
    if not len(dataset.test):
        problems.append("dataset: its test set is empty")
    return problems


def _run_problems(config: PackConfig, run: RunConfig) -> list[str]:
    problems = []
    depth = run.parameterization.hidden_layers
    if depth != config.hidden_layers:
        problems.append(
            f"parameterization: is for {depth} hidden layers; the pack has {config.hidden_layers}"
        )
    if reason := untrainable_reason(run.parameterization):
        problems.append(f"parameterization: {reason}")
    if not 0 < run.base_learning_rate < math.inf:
        problems.append(f"base_learning_rate: must be positive and finite, not {run.base_learning_rate}")
    if not 0 <= run.seed <= _LARGEST_SEED:
        problems.append(f"seed: must lie in 0..{_LARGEST_SEED}, not {run.seed}")
    if run.calibration is not None:
        for field in ("readout_target", "cap"):
            value = getattr(run.calibration, field)
            if not 0 < value < math.inf:
                problems.append(f"calibration.{field}: must be positive and finite, not {value}")
    return problems
