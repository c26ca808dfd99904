"""Rules of the optimizer, the schedule of its rates, the precision, and the validation set."""

from __future__ import annotations

import math

from ipcore.catalogue import OPTIMIZERS, PRECISIONS, SCHEDULES
from ipcore.engine.decay import LEAST_DECAY
from ipcore.models.scales import MOST_MOMENTUM, NEAR_ONE, SINGLE, fits
from iplab.v1 import spec_pb2 as pb
from ipserver.request.defaults import OPTIMIZER_SETTINGS
from ipserver.request.expand import rates_of
from ipserver.request.problems import Problems

_DECAYS_TO = frozenset({"linear", "cosine"})
_MOST_MILESTONES = 1_000
# Fields of a schedule that only some schedules use.
_USED_BY = {"final_fraction": _DECAYS_TO, "milestones": frozenset({"step"}), "decay": frozenset({"step"})}


def check_optimizer(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Its name; settings that it uses, within their ranges, and no others."""
    optimizer = spec.optimizer
    if not problems.name(f"{path}.name", optimizer.name, "optimizer", OPTIMIZERS):
        return
    used = OPTIMIZER_SETTINGS[optimizer.name]
    for descriptor, value in optimizer.ListFields():
        name, field = descriptor.name, f"{path}.{descriptor.name}"
        if name == "name":
            continue
        if name not in used:
            others = ", ".join(other for other, settings in OPTIMIZER_SETTINGS.items() if name in settings)
            problems.add(
                field, f"is not used by {optimizer.name!r} but by {others}; remove it or change the name"
            )
        elif name in {"momentum", "beta1", "beta2"} and not 0 <= value < 1:
            problems.add(field, f"must be at least 0 and less than 1, not {value}")
        elif name == "momentum" and value > MOST_MOMENTUM:
            problems.add(field, f"must be at most {MOST_MOMENTUM}, not {value}: {NEAR_ONE}")
        elif name == "epsilon" and value != 0 and not fits(value):
            problems.add(field, f"must be 0 or a number that training can hold ({SINGLE}), not {value:g}")
        elif name == "weight_decay":
            _check_decay(spec, field, problems)


def _check_decay(spec: pb.ExperimentSpec, field: str, problems: Problems) -> None:
    decay = spec.optimizer.weight_decay
    if not 0 <= decay < math.inf:
        problems.add(field, f"must be a finite number of at least 0, not {decay:g}")
        return
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
    if not 0 <= schedule.warmup_steps < max(spec.steps, 1):
        problems.add(
            f"{path}.warmup_steps",
            f"must lie in 0 .. {max(spec.steps, 1) - 1:,} (fewer than the {spec.steps:,} updates), "
            f"not {schedule.warmup_steps}",
        )
    for descriptor, _ in schedule.ListFields():
        users = _USED_BY.get(descriptor.name)
        if users is not None and schedule.name not in users:
            problems.add(
                f"{path}.{descriptor.name}",
                f"is not used by {schedule.name!r} but by {', '.join(sorted(users))}; "
                "remove it or change the name",
            )
    if schedule.name in _DECAYS_TO and not 0 <= schedule.final_fraction <= 1:
        problems.add(f"{path}.final_fraction", f"must lie in 0 .. 1, not {schedule.final_fraction:g}")
    if schedule.name == "step":
        _check_milestones(spec, path, problems)
        if not 0 < schedule.decay < 1:
            problems.add(f"{path}.decay", f"must lie between 0 and 1, not {schedule.decay:g}")


def _check_milestones(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    milestones, field = spec.schedule.milestones, f"{path}.milestones"
    if not milestones:
        problems.add(field, "is empty; with 'step' give at least one number of updates")
    if len(milestones) > _MOST_MILESTONES:
        problems.add(field, f"has {len(milestones):,} values; at most {_MOST_MILESTONES:,} are allowed")
        return
    before = 0
    for i, milestone in enumerate(milestones):
        if not 1 <= milestone < max(spec.steps, 2):
            problems.add(
                f"{field}[{i}]",
                f"must lie in 1 .. {max(spec.steps, 2) - 1:,} (fewer than the {spec.steps:,} updates), "
                f"not {milestone}",
            )
        elif milestone <= before:
            problems.add(f"{field}[{i}]", f"{milestone} does not ascend: {before} stands before it")
        before = max(before, milestone)


def check_precision(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Its name; what only GPUs can do, on GPUs."""
    field = f"{path}.precision"
    known = not spec.precision or problems.name(field, spec.precision, "precision", PRECISIONS)
    if known and spec.precision == "tf32" and not spec.resources.gpus:
        problems.add(
            field, "'tf32' is for GPUs; ask for resources.gpus, or take 'fp32' (or 'bf16', which CPUs know)"
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
