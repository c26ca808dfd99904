"""Factors of all learning rates that depend on the step alone. Standard library only.

After t updates, of T in all, with w warm-up updates, the factor is warm-up times course:

    warm-up    (t + 1) / (w + 1) for t < w, then 1
    constant   1
    linear     1 + (final - 1) p              with p = (t - w) / (T - 1 - w), 0 during the warm-up
    cosine     final + (1 - final) (1 + cos(pi p)) / 2
    step       decay^(number of milestones <= t)

so that "linear" and "cosine" fall from 1 at the first full update to `final_fraction` at the last one. The
factor multiplies every layer's rate at every step, a large first step included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ipcore.catalogue import SCHEDULES
from ipcore.catalogue.entries import implementation
from ipcore.catalogue.schedules import Schedule
from ipcore.catalogue.settings import value_problems

# Milestones of one schedule.
MOST_MILESTONES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Course:
    """A schedule after its warm-up.

    Attributes:
        factor: (schedule, step, progress) -> factor; progress rises from 0 at the first full update to 1 at
            the last.
        least: (schedule, number of full updates less one, at least 1) -> a lower bound of all factors > 0.
    """

    factor: Callable[[Schedule, int, float], float]
    least: Callable[[Schedule, int], float]


def _falling(power: int) -> Callable[[Schedule, int], float]:
    """The last factor but one, 1 / n^power, where the last one is 0."""

    def least(schedule: Schedule, falling: int) -> float:
        return schedule.final_fraction if schedule.final_fraction > 0 else 1 / falling**power

    return least


CONSTANT: Final = Course(lambda schedule, step, progress: 1.0, lambda schedule, falling: 1.0)
LINEAR: Final = Course(
    lambda schedule, step, progress: 1.0 + (schedule.final_fraction - 1.0) * progress,
    _falling(1),  # p = 1 - 1/n
)
COSINE: Final = Course(
    lambda schedule, step, progress: (
        schedule.final_fraction + (1.0 - schedule.final_fraction) * (1 + math.cos(math.pi * progress)) / 2
    ),
    _falling(2),  # (1 + cos(pi p)) / 2 = sin(pi / 2n)^2 >= 1 / n^2
)
STEP: Final = Course(
    lambda schedule, step, progress: schedule.decay ** sum(mark <= step for mark in schedule.milestones),
    lambda schedule, falling: schedule.decay ** len(schedule.milestones),
)


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """The factor of the update after `step` others.

    Args:
        schedule: Its name and settings.
        step: t, 0 .. steps - 1.
        steps: T, updates in all.

    Returns:
        0..1.

    >>> [factor(Schedule("linear", warmup_steps=2), t, steps=5) for t in range(5)]
    [0.3333333333333333, 0.6666666666666666, 1.0, 0.5, 0.0]
    """
    warmup = schedule.warmup_steps
    rise = (step + 1) / (warmup + 1) if step < warmup else 1.0
    falling = steps - 1 - warmup
    progress = max(0, step - warmup) / falling if falling > 0 else 0.0
    return rise * _course(schedule).factor(schedule, step, progress)


def least_factor(schedule: Schedule, steps: int) -> float:
    """A lower bound of all factors > 0; at most a factor of 2 too small without a warm-up.

    >>> least_factor(Schedule("step", milestones=(5, 9), decay=0.5), steps=20)
    0.25
    """
    rise = 1 / (schedule.warmup_steps + 1)
    return rise * _course(schedule).least(schedule, max(1, steps - 1 - schedule.warmup_steps))


def schedule_problems(schedule: Schedule, steps: int) -> list[tuple[str, str]]:
    """Problems of a schedule, as (field of `Schedule`, sentence).

    Args:
        schedule: Settings that its course does not use are not looked at.
        steps: T >= 1, updates in all.
    """
    used = SCHEDULES[schedule.name].settings if schedule.name in SCHEDULES else ()
    return [*value_problems(schedule, only={"name", *used}), *step_problems(schedule, steps)]


def step_problems(schedule: Schedule, steps: int) -> list[tuple[str, str]]:
    """As `schedule_problems`, but only what depends on the number of updates."""
    if schedule.name not in SCHEDULES:
        return []
    problems = []
    if not 0 <= schedule.warmup_steps < steps:
        problems.append(
            (
                "warmup_steps",
                f"must lie in 0 .. {steps - 1:,} (fewer than the {steps:,} updates), "
                f"not {schedule.warmup_steps}",
            )
        )
    if "milestones" in SCHEDULES[schedule.name].uses:
        problems += _milestone_problems(schedule, steps)
    return problems


def _milestone_problems(schedule: Schedule, steps: int) -> list[tuple[str, str]]:
    marks, field = schedule.milestones, "milestones"
    if not marks:
        return [(field, f"is empty; with {schedule.name!r} give at least one number of updates")]
    if len(marks) > MOST_MILESTONES:
        return [(field, f"has {len(marks):,} values; at most {MOST_MILESTONES:,} are allowed")]
    problems, before, most = [], 0, max(steps, 2) - 1
    for i, mark in enumerate(marks):
        if not 1 <= mark <= most:
            problems.append(
                (
                    f"{field}[{i}]",
                    f"must lie in 1 .. {most:,} (fewer than the {steps:,} updates), not {mark}",
                )
            )
        elif mark <= before:
            problems.append((f"{field}[{i}]", f"must be greater than the {before} before it, not {mark}"))
        before = max(before, mark)
    return problems


def _course(schedule: Schedule) -> Course:
    found: Course = implementation(SCHEDULES[schedule.name].implementation)
    return found
