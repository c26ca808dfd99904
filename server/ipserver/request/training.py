"""Rules of the optimizer, the schedule of its rates, the precision, and the validation set."""

from __future__ import annotations

import math

from ipcore.catalogue import OPTIMIZERS, PRECISIONS, SCHEDULES
from ipcore.catalogue.optimizers import OptimizerSettings, users_of
from ipcore.catalogue.schedules import users_of as courses_with
from ipcore.catalogue.settings import settings
from ipcore.engine.decay import LEAST_DECAY
from ipcore.engine.schedule import schedule_problems
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import pack_schedule
from ipserver.request.expand import rates_of
from ipserver.request.problems import Problems


def check_optimizer(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Its name; settings that it uses, within their ranges, and no others."""
    optimizer = spec.optimizer
    if not problems.name(f"{path}.name", optimizer.name, "optimizer", OPTIMIZERS):
        return
    used = OPTIMIZERS[optimizer.name].settings
    for descriptor, value in optimizer.ListFields():
        name, field = descriptor.name, f"{path}.{descriptor.name}"
        if name == "name":
            continue
        if name not in used:
            others = ", ".join(users_of(name))
            problems.add(
                field, f"is not used by {optimizer.name!r} but by {others}; remove it or change the name"
            )
        elif text := settings(OptimizerSettings)[name].problem(value):
            problems.add(field, text)
        elif name == "weight_decay":
            _check_decay(spec, field, problems)


def _check_decay(spec: pb.ExperimentSpec, field: str, problems: Problems) -> None:
    decay = spec.optimizer.weight_decay
    rates = _rates(spec)
    largest = max(rates, default=0.0)
    if rates and 0 < decay * largest * spec.steps < LEAST_DECAY:
        problems.add(
            field,
            f"{decay:g} times the largest base learning rate {largest:g} takes at most "
            f"{decay * largest * spec.steps:.1e} from the weights in all {spec.steps:,} updates, less than "
            f"single precision can hold ({LEAST_DECAY:.1e}): nothing would decay; raise it, or leave it out",
        )
    elif decay * largest > 1:
        problems.add(
            field,
            f"{decay:g} times the largest base learning rate {largest:g} is more than 1: each update "
            f"multiplies weights by 1 - eta lambda, so their signs would change; at most {1 / largest:.4g}",
        )


def decay_warnings(spec: pb.ExperimentSpec) -> list[str]:
    """Rates of a valid spec at which weight decay is too small to be seen."""
    decay = spec.optimizer.weight_decay
    lost = sorted({rate for rate in _rates(spec) if 0 < decay * rate * spec.steps < LEAST_DECAY})
    if not lost:
        return []
    return [
        f"weight decay {decay:g} takes less than {LEAST_DECAY:.1e} from the weights in all {spec.steps:,} "
        f"updates at base learning rates up to {lost[-1]:g}: single precision cannot show it there"
    ]


def _rates(spec: pb.ExperimentSpec) -> list[float]:
    """All base learning rates that are positive and finite."""
    rates = [rate for entry in spec.grid.parameterizations for rate in rates_of(entry, spec.grid)]
    return [rate for rate in rates if 0 < rate < math.inf]


def check_schedule(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Its name; fields that it uses, within their ranges, and no others."""
    schedule = spec.schedule
    if not spec.HasField("schedule") or not problems.name(
        f"{path}.name", schedule.name, "schedule", SCHEDULES
    ):
        return
    used = SCHEDULES[schedule.name].settings
    for descriptor, _ in schedule.ListFields():
        if descriptor.name not in ("name", *used):
            problems.add(
                f"{path}.{descriptor.name}",
                f"is not used by {schedule.name!r} but by {', '.join(courses_with(descriptor.name))}; "
                "remove it or change the name",
            )
    for field, text in schedule_problems(pack_schedule(spec), max(spec.steps, 1)):
        problems.add(f"{path}.{field}", text)


def check_precision(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Its name; what only GPUs can do, on GPUs."""
    field = f"{path}.precision"
    known = not spec.precision or problems.name(field, spec.precision, "precision", PRECISIONS)
    if known and spec.precision and PRECISIONS[spec.precision].gpu_only and not spec.resources.gpus:
        problems.add(
            field,
            f"{spec.precision!r} is for GPUs; ask for resources.gpus, or take one that CPUs know: "
            + ", ".join(name for name, entry in PRECISIONS.items() if not entry.gpu_only),
        )


def check_validation(spec: pb.ExperimentSpec, train_size: int, path: str, problems: Problems) -> bool:
    """The held-out examples leave enough to train on.

    Args:
        spec: With its defaults.
        train_size: Examples of the dataset's training set.
        path: Of the spec.
        problems: Where to note what is wrong.

    Returns:
        Whether the size of the validation set is right.
    """
    held_out = spec.validation_size
    if not 0 <= held_out < train_size:
        problems.add(
            f"{path}.validation_size",
            f"must lie in 0 .. {train_size - 1:,} (fewer than the training set of {spec.dataset!r} has), "
            f"not {held_out}",
        )
        return False
    if spec.batch_size <= train_size and spec.batch_size > train_size - held_out:
        problems.add(
            f"{path}.batch_size",
            f"{spec.batch_size} is larger than what validation_size {held_out:,} leaves of the training set "
            f"of {spec.dataset!r} ({train_size - held_out:,} of {train_size:,} examples); lower one of them",
        )
    return True
