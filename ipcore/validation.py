"""Whether a pack can be trained: every problem at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ipcore.activation_facts import check_activation
from ipcore.catalogue import BIASES, LOSSES, OPTIMIZERS, PRECISIONS, SCHEDULES, canonical_name, loss_misfit
from ipcore.config import OptimizerSettings, PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.errors import ConfigError, unknown
from ipcore.losses import LOSSES as LOSS_FUNCTIONS
from ipcore.probes import probe_problems
from ipcore.schedule import schedule_problems
from ipcore.theory import Parameterization

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
        ("loss", config.loss, LOSSES),
        ("bias", config.bias, BIASES),
        ("optimizer", config.optimizer, OPTIMIZERS),
        ("schedule.name", config.schedule.name, SCHEDULES),
        ("precision", config.precision, PRECISIONS),
        ("weights", config.weights, _WEIGHTS),
    )
    problems += [
        f"{field}: {unknown(field, name, known)}" for field, name, known in names if name not in known
    ]
    try:
        check_activation(config.activation)
    except ConfigError as error:
        problems += error.problems
    lowest = {"hidden_layers": 1, "width": 1, "batch_size": 1, "steps": 1, "metrics_interval": 1}
    lowest |= {"evaluation_interval": 0, "weights_interval": 1 if config.weights == "every" else 0}
    lowest |= {"validation_size": 0}
    for field, least in lowest.items():
        value = getattr(config, field)
        if value < least:
            problems.append(f"{field}: must be at least {least}, not {value}")
    if config.schedule.name in SCHEDULES and config.steps > 0:
        problems += schedule_problems(config.schedule, config.steps)
    return problems


def _dataset_problems(config: PackConfig, dataset: Dataset) -> list[str]:
    problems = []
    if canonical_name(config.dataset) != dataset.name:
        problems.append(f"dataset: the pack names {config.dataset!r} but was given {dataset.name!r}")
    size, held_out = len(dataset.train), config.validation_size
    if held_out >= size:
        problems.append(f"validation_size: must leave some of the {size} training examples, not {held_out}")
    elif config.batch_size > size - max(0, held_out):
        left = f"{size - held_out} training examples" + (" outside the validation set" if held_out else "")
        problems.append(f"batch_size: {config.batch_size} is more than the {left}")
    if not len(dataset.test):
        problems.append("dataset: its test set is empty")
    if misfit := loss_misfit(config.loss, dataset.info):
        problems.append(f"loss: {misfit}")
    problems += probe_problems(config, size - max(0, held_out))
    return problems


def _run_problems(config: PackConfig, run: RunConfig) -> list[str]:
    problems = []
    depth = run.parameterization.hidden_layers
    if depth != config.hidden_layers:
        problems.append(
            f"parameterization: is for {depth} hidden layers; the pack has {config.hidden_layers}"
        )
    if not 0 < run.base_learning_rate < math.inf:
        problems.append(f"base_learning_rate: must be positive and finite, not {run.base_learning_rate}")
    if not 0 <= run.seed <= _LARGEST_SEED:
        problems.append(f"seed: must lie in 0..{_LARGEST_SEED}, not {run.seed}")
    if run.calibration is not None:
        for field in ("readout_target", "cap"):
            value = getattr(run.calibration, field)
            if not 0 < value < math.inf:
                problems.append(f"calibration.{field}: must be positive and finite, not {value}")
        if reason := calibration_misfit(run.parameterization, config.optimizer):
            problems.append(f"calibration: {reason}")
    return [*problems, *_setting_problems(config.optimizer, run.settings)]


def calibration_misfit(parameterization: Parameterization, optimizer: str) -> str:
    """Why first rates cannot be calibrated (`ipcore.calibration`); "" if they can."""
    if optimizer in ("adam", "adamw"):
        return (
            f"{optimizer} has no large first step whose constant would have to be found: its updates have a "
            "size of their own; leave calibration out, or use sgd or momentum"
        )
    if parameterization.biases is not None:
        return (
            "not defined for biases with exponents of their own (ip-bias): first updates are of order 1 as "
            "they are; leave it out, or use ip-llr"
        )
    return ""


def _setting_problems(optimizer: str, settings: OptimizerSettings) -> list[str]:
    """Settings that the optimizer uses and that are out of range."""
    problems = []
    decay = settings.weight_decay
    if not 0 <= decay < math.inf:
        problems.append(f"settings.weight_decay: must be at least 0 and finite, not {decay}")
    elif optimizer == "adam" and decay:
        problems.append(
            f"settings.weight_decay: adam has none, not {decay} (added to its gradients it would depend on "
            "the gauge); use adamw"
        )
    fractions = {"momentum": ("momentum",), "adam": ("beta1", "beta2"), "adamw": ("beta1", "beta2")}
    for field in fractions.get(optimizer, ()):
        value = getattr(settings, field)
        if not 0 <= value < 1:
            problems.append(f"settings.{field}: must be at least 0 and less than 1, not {value}")
    if optimizer in ("adam", "adamw") and not 0 <= settings.epsilon < math.inf:
        problems.append(f"settings.epsilon: must be at least 0 and finite, not {settings.epsilon}")
    return problems
