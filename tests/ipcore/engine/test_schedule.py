from __future__ import annotations

import math
import re

import pytest

from ipcore.config import Schedule
from ipcore.engine.schedule import factor, least_factor, schedule_problems


def factors(schedule: Schedule, steps: int) -> list[float]:
    return [factor(schedule, step, steps) for step in range(steps)]


def test_constant():
    assert factors(Schedule(), 3) == [1, 1, 1]
    assert factors(Schedule(warmup_steps=3), 5) == [1 / 4, 2 / 4, 3 / 4, 1, 1]


def test_linear_falls_to_its_end_at_the_last_update():
    assert factors(Schedule("linear"), 5) == [1, 3 / 4, 1 / 2, 1 / 4, 0]
    assert factors(Schedule("linear", final_fraction=0.5), 5) == [1, 7 / 8, 3 / 4, 5 / 8, 1 / 2]
    assert factors(Schedule("linear", warmup_steps=1), 4) == [1 / 2, 1, 1 / 2, 0]


def test_cosine_by_hand():
    """(1 + cos(pi p)) / 2 at p = 0, 1/4, 1/2, 3/4, 1."""
    root = math.sqrt(2)
    expected = [1, (2 + root) / 4, 1 / 2, (2 - root) / 4, 0]
    assert factors(Schedule("cosine"), 5) == pytest.approx(expected)
    tenth = [0.1 + 0.9 * value for value in expected]
    assert factors(Schedule("cosine", final_fraction=0.1), 5) == pytest.approx(tenth)
    assert factors(Schedule("cosine", warmup_steps=2), 7) == pytest.approx([1 / 3, 2 / 3, *expected])


def test_steps_down_after_each_milestone():
    schedule = Schedule("step", milestones=(2, 4), decay=0.5)
    assert factors(schedule, 6) == [1, 1, 1 / 2, 1 / 2, 1 / 4, 1 / 4]
    assert factors(Schedule("step", warmup_steps=3, milestones=(2, 4), decay=0.5), 6) == [
        1 / 4, 1 / 2, 3 / 8, 1 / 2, 1 / 4, 1 / 4,
    ]  # fmt: skip


def test_a_single_full_update_has_factor_one():
    for name in ("linear", "cosine"):
        assert factors(Schedule(name), 1) == [1]
        assert factors(Schedule(name, warmup_steps=2), 3) == [1 / 3, 2 / 3, 1]


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (
            Schedule(warmup_steps=10),
            r"warmup_steps: must lie in 0 \.\. 9 \(fewer than the 10 updates\), not 10",
        ),
        (Schedule(warmup_steps=-1), "warmup_steps"),
        (Schedule("linear", final_fraction=1.5), "final_fraction"),
        (Schedule("cosine", final_fraction=-0.1), "final_fraction"),
        (Schedule("step"), "milestones"),
        (Schedule("step", milestones=(5, 2)), "milestones"),
        (Schedule("step", milestones=(5, 5)), "milestones"),
        (Schedule("step", milestones=(0,)), "milestones"),
        (Schedule("step", milestones=(10,)), r"milestones\[0\]: must lie in 1 \.\. 9"),
        (Schedule("step", milestones=(5,), decay=1.0), "decay"),
    ],
)
def test_wrong_settings_are_named(schedule: Schedule, field: str):
    ((wrong, problem),) = schedule_problems(schedule, steps=10)
    assert re.match(field, f"{wrong}: {problem}")


def test_right_settings_are_accepted():
    for schedule in (Schedule(warmup_steps=9), Schedule("step", milestones=(1, 9)), Schedule("linear")):
        assert schedule_problems(schedule, steps=10) == []


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(),
        Schedule("linear"),
        Schedule("linear", warmup_steps=7, final_fraction=0.3),
        Schedule("cosine"),
        Schedule("cosine", warmup_steps=3),
        Schedule("cosine", final_fraction=1e-3),
        Schedule("step", milestones=(2, 9), decay=0.2),
        Schedule("step", warmup_steps=11, milestones=(9,), decay=0.2),
    ],
)
@pytest.mark.parametrize("steps", [12, 13, 200])
def test_no_factor_above_0_is_below_the_least(schedule: Schedule, steps: int):
    factors = [factor(schedule, t, steps) for t in range(steps)]
    least = least_factor(schedule, steps)
    # A cosine that ends at 0 gives 1e-17 by rounding, which must count as 0.
    assert least <= min(value for value in factors if value > 1e-12) * (1 + 1e-12)
    if not schedule.warmup_steps:
        assert least >= min(value for value in factors if value > 1e-12) / 2.5
