"""Findings of `ipserver doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Severity of a finding.

    NOTE: the service works, but the finding may be of interest. SKIPPED: the check could not be made.
    """

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        check: Name of the check: "store", "artifacts", ...
        level: Severity.
        text: The observation and, if something is wrong, what to do about it.
    """

    check: str
    level: Level
    text: str


Found = Iterator[tuple[Level, str]]


def size(count: int) -> str:
    """A number of bytes in MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
