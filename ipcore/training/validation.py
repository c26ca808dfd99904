"""Validation of packs: every problem at once.

The trainer refuses what the service refuses at submission, so it can be used without a service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from ipcore.catalogue import OPTIMIZERS, canonical_name, find_activation, loss_misfit
from ipcore.catalogue.formats import DOUBLE, SINGLE, Range, fits
from ipcore.catalogue.optimizers import users_of
from ipcore.catalogue.settings import type_problems, value_problems
from ipcore.config import PackConfig, RunConfig, calibration_misfit, size_problems
from ipcore.data import Dataset
from ipcore.engine.decay import decay_misfit
from ipcore.engine.losses import LOSSES as LOSS_FUNCTIONS
from ipcore.engine.schedule import least_factor, schedule_problems
from ipcore.errors import ConfigError
from ipcore.models import MLP
from ipcore.models.magnitudes import Training, misfits
from ipcore.probes import probe_problems
from ipcore.theory import Parameterization

_HELD = {torch.float32: SINGLE, torch.float64: DOUBLE}


def check_pack(
    config: PackConfig, runs: Sequence[RunConfig], dataset: Dataset, dtype: torch.dtype = torch.float32
) -> None:
    """Check that these runs can be trained as one pack on this dataset.

    Args:
        config: Configuration of the pack.
        runs: Runs of the pack.
        dataset: What they train on.
        dtype: Number format of weights: single or double precision.

    Raises:
        ConfigError: Names every wrong field.
    """
    if dtype not in _HELD:
        raise ConfigError([f"dtype: must be torch.float32 or torch.float64, not {dtype}"])
    # Types first, then values: only numbers can be compared with bounds.
    types = [*_type_problems(config, {"schedule": config.schedule, "probes": config.probes})]
    for position, run in enumerate(runs):
        parts = {"settings": run.settings, "calibration": run.calibration}
        types += [f"runs[{position}].{text}" for text in _type_problems(run, parts)]
        given: object = run.parameterization
        if not isinstance(given, Parameterization):
            types.append(f"runs[{position}].parameterization: is not a Parameterization; use ipcore.preset")
    if types:
        raise ConfigError(types)
    problems = [*_config_problems(config), *_dataset_problems(config, dataset)]
    if not runs:
        problems.append("runs: a pack has at least one run")
    # Runs of a pack mostly share their parameterization, and differ in their seeds alone.
    known: dict[object, list[str]] = {}
    # In the limit no power of the width enters training.
    sound = not problems and not config.infinite_width
    for position, run in enumerate(runs):
        key = (id(run.parameterization), run.base_learning_rate, run.seed, run.calibration, run.settings)
        if key not in known:
            known[key] = _run_problems(config, run, _HELD[dtype], sound=sound)
        problems += [f"runs[{position}].{text}" for text in known[key]]
    if problems:
        raise ConfigError(problems)
    for split in (dataset.train, dataset.test):
        LOSS_FUNCTIONS[config.loss].check_labels(split.labels, dataset.classes)


def _type_problems(owner: object, parts: Mapping[str, object]) -> Iterator[str]:
    """Fields of an owner and of its parts, by name, that have the wrong type."""
    for prefix, value in {"": owner, **parts}.items():
        if value is not None:
            for field, text in type_problems(value):
                yield f"{prefix}.{field}: {text}".removeprefix(".")


def _config_problems(config: PackConfig) -> list[str]:
    problems = [f"{field}: {text}" for field, text in value_problems(config)]
    try:
        find_activation(config.activation)
    except ConfigError as error:
        problems += error.problems
    problems += [f"model.{text}" for text in config.model.problems()]
    if config.weights == "every" and config.weights_interval == 0:
        problems.append("weights_interval: must be at least 1 with weights 'every', not 0")
    if config.steps > 0:
        found = schedule_problems(config.schedule, config.steps)
        problems += [f"schedule.{field}: {text}" for field, text in found]
    return problems


def _dataset_problems(config: PackConfig, dataset: Dataset) -> list[str]:
    problems = []
    if canonical_name(config.dataset) != dataset.name:
        problems.append(f"dataset: the pack names {config.dataset!r} but was given {dataset.name!r}")
    size, held_out = len(dataset.train), config.validation_size
    problems += [f"{field}: {text}" for field, text in size_problems(config.batch_size, held_out, size)]
    if not len(dataset.test):
        problems.append("dataset: its test set is empty")
    problems += [f"dataset: {text}" for text in dataset.problems]
    if misfit := loss_misfit(config.loss, dataset.info):
        problems.append(f"loss: {misfit}")
    problems += probe_problems(config, size - max(0, held_out))
    return problems


def _run_problems(config: PackConfig, run: RunConfig, held: Range, *, sound: bool) -> list[str]:
    """Problems of a run; its scales are checked only in a pack without other problems."""
    problems = []
    depth = run.parameterization.hidden_layers
    if depth != config.layers - 1 and config.model == MLP:
        problems.append(
            f"parameterization: is for {depth} hidden layers; the pack has {config.hidden_layers}"
        )
    elif depth != config.layers - 1:
        problems.append(
            f"parameterization: has {depth + 1} entries; {config.model.name} with {config.hidden_layers} "
            f"hidden layers has {config.layers} matrices: take ipcore.preset(name, {config.layers - 1})"
        )
    problems += [f"{field}: {text}" for field, text in value_problems(run, held)]
    if run.calibration is not None:
        problems += [f"calibration.{field}: {text}" for field, text in value_problems(run.calibration, held)]
        if reason := calibration_misfit(config.optimizer, own_biases=run.parameterization.biases is not None):
            problems.append(f"calibration: {reason}")
    problems += _setting_problems(config.optimizer, run, held)
    return problems or (_scale_problems(config, run, held) if sound else [])


def _scale_problems(config: PackConfig, run: RunConfig, held: Range) -> list[str]:
    """Powers of the width beyond the number format; the first of each kind."""
    training = Training(
        batch_size=config.batch_size,
        optimizer=config.optimizer,
        rates=[run.base_learning_rate],
        least_factor=least_factor(config.schedule, config.steps),
        cap=None if run.calibration is None else run.calibration.cap,
    )
    fields = {"cap": "calibration.cap", "schedule": "base_learning_rate"}
    first: dict[str, str] = {}
    for found in misfits(run.parameterization, [config.width], training, held):
        first.setdefault(found.field, f"{fields.get(found.field, 'parameterization')}: {found.message}")
    return list(first.values())


def _setting_problems(optimizer: str, run: RunConfig, held: Range) -> list[str]:
    """Settings of the optimizer that are out of range, and a decay that it does not have."""
    if optimizer not in OPTIMIZERS:
        return []
    used, decay = OPTIMIZERS[optimizer].settings, run.settings.weight_decay
    problems = [f"settings.{field}: {text}" for field, text in value_problems(run.settings, held, only=used)]
    if "weight_decay" not in used and decay:
        problems.append(
            f"settings.weight_decay: {optimizer} has none, not {decay} (added to its gradients it would "
            f"depend on the gauge); it belongs to {', '.join(users_of('weight_decay'))}"
        )
    elif fits(run.base_learning_rate, held) and (text := decay_misfit(decay, run.base_learning_rate)):
        problems.append(f"settings.weight_decay: {text}")
    return problems
