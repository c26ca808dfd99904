"""Roles in projects, and kinds of limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

# A role in this project applies to all projects.
EVERY: Final = "*"
# A limit of this project (or user) applies to each project (or user) without a limit of its own.
EACH: Final = "*"
# The user in a limit of a whole project.
WHOLE: Final = ""


class Role(IntEnum):
    """Role of a user in a project; each role includes the ones before it. The values are the proto's."""

    READER = 1
    WRITER = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Grant:
    """A role of a principal in a project."""

    project: str
    principal: str
    role: Role


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of limit.

    Attributes:
        meaning: One line for users.
        until: What must happen before the limit permits more.
        monthly: Whether use is counted from the first of the month (UTC).
    """

    meaning: str
    until: str
    monthly: bool = False


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "live_experiments": Kind("experiments that have not ended", "one of them ends"),
        "queued_runs": Kind("runs that wait", "enough of them have started"),
        "core_hours": Kind("hours of training on one core, this month", "", monthly=True),
        "gpu_hours": Kind("hours of training on one GPU, this month", "", monthly=True),
        "artifact_bytes": Kind("bytes of weights and other files", "experiments that hold some are purged"),
        "priority": Kind("highest priority", ""),
        "retention_days": Kind("days after their end until experiments are deleted", ""),
        "requests_per_second": Kind("requests per second to one API process", ""),
    }
)


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit that was set, of a project ("*": each) and a user in it ("*": each; "": all together)."""

    project: str
    user: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Use:
    """A limit that applies, and its use.

    Attributes:
        project: Id of the project.
        user: The user; "" if it counts the whole project.
        name: Key of `KINDS`.
        limit: The limit.
        used: The use; None for limits that do not add up.
        reset_time: When the use starts from 0 again; None if never.
    """

    project: str
    user: str
    name: str
    limit: float
    used: float | None
    reset_time: float | None
