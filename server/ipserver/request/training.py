"""Rules that relate fields: decay and rates, schedule and steps, precision and GPUs, the validation set."""

from __future__ import annotations

import math

from ipcore.catalogue import PRECISIONS
from ipcore.config import size_problems
from ipcore.engine.decay import LEAST_DECAY, decay_misfit
from ipcore.engine.schedule import step_problems
from iplab.v1 import spec_pb2 as pb
from ipserver.request.convert import pack_schedule
from ipserver.request.expand import rates_of
from ipserver.request.fields import used_settings
from ipserver.request.problems import Problems


def check_decay(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Check that decay times rate is at most 1 per update, and large enough for single precision."""
    decay, rates = spec.optimizer.weight_decay, _rates(spec)
    used = "weight_decay" in (used_settings(spec.optimizer) or ())
    if not used or not 0 < decay < math.inf or not rates:
        return
    field, largest = f"{path}.weight_decay", max(rates)
    taken = decay * largest * spec.steps
    if 0 < taken < LEAST_DECAY:
        problems.add(
            field,
            f"{decay:g} times the largest base learning rate {largest:g} takes at most "
            f"{taken:.1e} from the weights in all {spec.steps:,} updates, less than "
            f"single precision can hold ({LEAST_DECAY:.1e}): it has no effect; raise it, or leave it out",
        )
    elif text := decay_misfit(decay, largest):
        problems.add(field, text)


def decay_warnings(spec: pb.ExperimentSpec) -> list[str]:
    """Warnings about rates of a valid spec at which weight decay has no effect in single precision."""
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
    """Check that the schedule fits the number of updates."""
    for field, text in step_problems(pack_schedule(spec), max(spec.steps, 1)):
        problems.add(f"{path}.{field}", text)


def check_precision(spec: pb.ExperimentSpec, path: str, problems: Problems) -> None:
    """Check that a precision that needs GPUs is used with GPUs."""
    entry = PRECISIONS.get(spec.precision)
    if entry is not None and entry.gpu_only and not spec.resources.gpus:
        problems.add(
            f"{path}.precision",
            f"{spec.precision!r} needs GPUs; ask for resources.gpus, or use one that CPUs support: "
            + ", ".join(name for name, entry in PRECISIONS.items() if not entry.gpu_only),
        )


def check_sizes(spec: pb.ExperimentSpec, train_size: int, path: str, problems: Problems) -> bool:
    """Check that batches and the validation set fit the training set. Returns whether the latter does."""
    found = size_problems(spec.batch_size, spec.validation_size, train_size)
    for field, text in found:
        problems.add(f"{path}.{field}", text)
    return 0 <= spec.validation_size < train_size
