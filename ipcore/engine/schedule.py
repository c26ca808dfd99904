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

from ipcore.config import Schedule


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
    return rise * _course(schedule, step, steps)


def least_factor(schedule: Schedule, steps: int) -> float:
    """A bound from below of all factors > 0; at most a factor of 2 too small where nothing warms up.

    >>> least_factor(Schedule("step", milestones=(5, 9), decay=0.5), steps=20)
    0.25
    """
    rise = 1 / (schedule.warmup_steps + 1)
    if schedule.name == "step":
        return rise * schedule.decay ** len(schedule.milestones)
    if schedule.name not in ("linear", "cosine"):
        return rise
    if schedule.final_fraction > 0:
        return rise * schedule.final_fraction
    # The last factor but one: p = 1 - 1/n, and (1 + cos(pi p)) / 2 = sin(pi / 2n)^2 >= 1 / n^2.
    falling = max(1, steps - 1 - schedule.warmup_steps)
    return rise / falling ** (2 if schedule.name == "cosine" else 1)


def schedule_problems(schedule: Schedule, steps: int) -> list[str]:
    """What is wrong with a schedule of a known name, field by field; empty: nothing."""
    problems = []
    if not 0 <= schedule.warmup_steps < steps:
        problems.append(f"schedule.warmup_steps: must lie in 0..{steps - 1}, not {schedule.warmup_steps}")
    if schedule.name in ("linear", "cosine") and not 0 <= schedule.final_fraction <= 1:
        problems.append(f"schedule.final_fraction: must lie in 0..1, not {schedule.final_fraction}")
    if schedule.name == "step":
        marks = schedule.milestones
        if not marks or sorted(set(marks)) != list(marks) or not 0 < marks[0] <= marks[-1] < steps:
            problems.append(
                f"schedule.milestones: must ascend within 1..{steps - 1}, at least one, not {list(marks)}"
            )
        if not 0 < schedule.decay < 1:
            problems.append(f"schedule.decay: must lie between 0 and 1, not {schedule.decay}")
    return problems


def _course(schedule: Schedule, step: int, steps: int) -> float:
    if schedule.name == "constant":
        return 1.0
    if schedule.name == "step":
        return schedule.decay ** sum(mark <= step for mark in schedule.milestones)
    falling = steps - 1 - schedule.warmup_steps
    progress = max(0, step - schedule.warmup_steps) / falling if falling > 0 else 0.0
    if schedule.name == "linear":
        return 1.0 + (schedule.final_fraction - 1.0) * progress
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * (1 + math.cos(math.pi * progress)) / 2
