"""Whether a pack can be trained: every problem at once.

What the service refuses at submission the trainer refuses too, for whoever uses it without a service.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Sequence

import torch

from ipcore.catalogue import BIASES, LOSSES, OPTIMIZERS, PRECISIONS, SCHEDULES, canonical_name, loss_misfit
from ipcore.catalogue.activations import check_activation
from ipcore.config import PackConfig, RunConfig
from ipcore.data import Dataset
from ipcore.engine.decay import decay_rate
from ipcore.engine.losses import LOSSES as LOSS_FUNCTIONS
from ipcore.engine.schedule import least_factor, schedule_problems
from ipcore.errors import ConfigError, unknown
from ipcore.models import MLP
from ipcore.models.magnitudes import Training, misfits
from ipcore.models.scales import DOUBLE, MOST_MOMENTUM, NEAR_ONE, SINGLE, Range, fits
from ipcore.probes import probe_problems
from ipcore.theory import Parameterization

_WEIGHTS = ("none", "final", "initial_and_final", "every")
_LARGEST_SEED = 2**32 - 1
_HELD = {torch.float32: SINGLE, torch.float64: DOUBLE}
# Fields of a pack that are whole numbers, and of a run and its parts that are real numbers.
_WHOLE = (
    "hidden_layers", "width", "batch_size", "steps", "metrics_interval", "evaluation_interval",
    "weights_interval", "validation_size", "schedule.warmup_steps",
)  # fmt: skip
_REAL = ("schedule.final_fraction", "schedule.decay")
_RUN_REAL = (
    "base_learning_rate", "settings.momentum", "settings.beta1", "settings.beta2", "settings.epsilon",
    "settings.weight_decay", "calibration.readout_target", "calibration.cap",
)  # fmt: skip


def check_pack(
    config: PackConfig, runs: Sequence[RunConfig], dataset: Dataset, dtype: torch.dtype = torch.float32
) -> None:
    """Check that these runs can be trained as one pack on this dataset.

    Args:
        config: Of the pack.
        runs: Of the pack.
        dataset: What they train on.
        dtype: Of weights: single or double precision.

    Raises:
        ConfigError: Names every wrong field.
    """
    if dtype not in _HELD:
        raise ConfigError([f"dtype: must be torch.float32 or torch.float64, not {dtype}"])
    # What is not a number cannot be compared with one: types first, then values.
    types = [*_type_problems(config, _WHOLE, _REAL)]
    for position, run in enumerate(runs):
        types += [f"runs[{position}].{text}" for text in _type_problems(run, ("seed",), _RUN_REAL)]
        given: object = run.parameterization
        if not isinstance(given, Parameterization):
            types.append(f"runs[{position}].parameterization: is no Parameterization; use ipcore.preset")
    if types:
        raise ConfigError(types)
    problems = [*_config_problems(config), *_dataset_problems(config, dataset)]
    if not runs:
        problems.append("runs: a pack has at least one run")
    # Runs of a pack mostly share their parameterization, and differ in their seeds alone.
    known: dict[object, list[str]] = {}
    sound = not problems
    for position, run in enumerate(runs):
        key = (id(run.parameterization), run.base_learning_rate, run.seed, run.calibration, run.settings)
        if key not in known:
            known[key] = _run_problems(config, run, _HELD[dtype], sound=sound)
        problems += [f"runs[{position}].{text}" for text in known[key]]
    if problems:
        raise ConfigError(problems)
    for split in (dataset.train, dataset.test):
        LOSS_FUNCTIONS[config.loss].check_labels(split.labels, dataset.classes)


def _type_problems(owner: object, whole: Sequence[str], real: Sequence[str]) -> Iterator[str]:
    """Fields (paths below an owner) that are not the numbers they should be; a part that is None has none."""
    for path in (*whole, *real):
        value = owner
        for name in path.split("."):
            value = getattr(value, name, None) if value is not None else None
        if value is None and path.startswith("calibration."):
            continue
        kind, word = (numbers.Integral, "a whole") if path in whole else (numbers.Real, "a real")
        if isinstance(value, bool) or not isinstance(value, kind):
            yield f"{path}: must be {word} number, not {value!r}"


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
    problems += [f"model.{text}" for text in config.model.problems()]
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
    problems += [f"dataset: {text}" for text in dataset.problems]
    if misfit := loss_misfit(config.loss, dataset.info):
        problems.append(f"loss: {misfit}")
    problems += probe_problems(config, size - max(0, held_out))
    return problems


def _run_problems(config: PackConfig, run: RunConfig, held: Range, *, sound: bool) -> list[str]:
    """What is wrong with a run; its scales are looked at only in a pack that is sound otherwise."""
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
    if not fits(run.base_learning_rate, held):
        problems.append(
            f"base_learning_rate: must be positive and finite, and a number that training can hold ({held}), "
            f"not {run.base_learning_rate}"
        )
    if not 0 <= run.seed <= _LARGEST_SEED:
        problems.append(f"seed: must lie in 0..{_LARGEST_SEED}, not {run.seed}")
    if run.calibration is not None:
        for field in ("readout_target", "cap"):
            value = getattr(run.calibration, field)
            if not fits(value, held):
                problems.append(
                    f"calibration.{field}: must be positive and finite, and a number that training can hold "
                    f"({held}), not {value}"
                )
        if reason := calibration_misfit(run.parameterization, config.optimizer):
            problems.append(f"calibration: {reason}")
    problems += _setting_problems(config.optimizer, run, held)
    return problems or (_scale_problems(config, run, held) if sound else [])


def _scale_problems(config: PackConfig, run: RunConfig, held: Range) -> list[str]:
    """Powers of the width that the number format does not hold; the first of each kind."""
    training = Training(
        batch_size=config.batch_size,
        optimizer="adam" if config.optimizer == "adamw" else config.optimizer,
        rates=[run.base_learning_rate],
        least_factor=least_factor(config.schedule, config.steps),
        cap=None if run.calibration is None else run.calibration.cap,
    )
    fields = {"cap": "calibration.cap", "schedule": "base_learning_rate"}
    first: dict[str, str] = {}
    for found in misfits(run.parameterization, [config.width], training, held):
        first.setdefault(found.field, f"{fields.get(found.field, 'parameterization')}: {found.message}")
    return list(first.values())


def calibration_misfit(parameterization: Parameterization, optimizer: str) -> str:
    """Why first rates cannot be calibrated (`ipcore.training.calibration`); "" if they can."""
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


def _setting_problems(optimizer: str, run: RunConfig, held: Range) -> list[str]:
    """Settings that the optimizer uses and that are out of range."""
    problems, settings = [], run.settings
    decay = settings.weight_decay
    if not 0 <= decay < math.inf:
        problems.append(f"settings.weight_decay: must be at least 0 and finite, not {decay}")
    elif optimizer == "adam" and decay:
        problems.append(
            f"settings.weight_decay: adam has none, not {decay} (added to its gradients it would depend on "
            "the gauge); use adamw"
        )
    elif fits(run.base_learning_rate, held) and decay_rate(run) > 1:
        problems.append(
            f"settings.weight_decay: {decay} times the base learning rate {run.base_learning_rate} is more "
            f"than 1: each update multiplies weights by 1 - eta lambda, so their signs would change; at most "
            f"{1 / run.base_learning_rate:.4g}"
        )
    fractions = {"momentum": ("momentum",), "adam": ("beta1", "beta2"), "adamw": ("beta1", "beta2")}
    for field in fractions.get(optimizer, ()):
        value = getattr(settings, field)
        if not 0 <= value < 1:
            problems.append(f"settings.{field}: must be at least 0 and less than 1, not {value}")
        elif field == "momentum" and held == SINGLE and value > MOST_MOMENTUM:
            problems.append(f"settings.momentum: must be at most {MOST_MOMENTUM}, not {value}: {NEAR_ONE}")
    epsilon = settings.epsilon
    if optimizer in ("adam", "adamw") and epsilon != 0 and not fits(epsilon, held):
        problems.append(
            f"settings.epsilon: must be 0 or a number that training can hold ({held}), not {epsilon}"
        )
    return problems
