"""Schedules: factors of all learning rates that depend on the step alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from ipcore.catalogue.entries import table
from ipcore.catalogue.rules import Interval, OneOf
from ipcore.catalogue.settings import Setting, settings

_STEPS: Final = "ipcore.engine.schedule"


@dataclass(frozen=True, slots=True)
class Course:
    """A schedule after its warm-up.

    Attributes:
        name: Name in specs.
        description: One-line description; p rises from 0 at the first full update to 1 at the last.
        implementation: Object of type `ipcore.engine.schedule.Course`, as "module:name".
        uses: Names in `Schedule` of the settings that it uses; every course has warmup_steps.
    """

    name: str
    description: str
    implementation: str
    uses: tuple[str, ...] = ()

    @property
    def settings(self) -> Mapping[str, Setting]:
        """Its settings with their ranges and defaults, by name."""
        return {name: settings(Schedule)[name] for name in ("warmup_steps", *self.uses)}


SCHEDULES: Final[Mapping[str, Course]] = table(
    (
        Course("constant", "1", f"{_STEPS}:CONSTANT"),
        Course("linear", "1 + (final_fraction - 1) p", f"{_STEPS}:LINEAR", ("final_fraction",)),
        Course(
            "cosine",
            "final_fraction + (1 - final_fraction) (1 + cos(pi p)) / 2",
            f"{_STEPS}:COSINE",
            ("final_fraction",),
        ),
        Course("step", "decay^(milestones passed)", f"{_STEPS}:STEP", ("milestones", "decay")),
    )
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule with its settings; those that it does not use are ignored (see `ipcore.engine.schedule`)."""

    name: Annotated[str, OneOf("schedule", SCHEDULES), "course after the warm-up"] = "constant"
    warmup_steps: Annotated[
        int,
        "number of first updates, fewer than all, over which rates rise linearly: factor "
        "(t+1)/(warmup_steps+1) after t < warmup_steps updates",
    ] = 0
    final_fraction: Annotated[float, Interval(0, 1), "factor at the last update"] = 0.0
    milestones: Annotated[
        tuple[int, ...], "ascending numbers of updates, after each of which the factor is multiplied by decay"
    ] = ()
    decay: Annotated[float, Interval(0, 1, "()"), "factor of a milestone"] = 0.1


def users_of(setting: str) -> list[str]:
    """Schedules that use a setting.

    >>> users_of("final_fraction")
    ['linear', 'cosine']
    """
    return [course.name for course in SCHEDULES.values() if setting in course.settings]
