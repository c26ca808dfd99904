"""How long tests take: `make times` measures it, the suite reads it.

`times.txt` holds the seconds of each test that takes at least a quarter of a second, on an idle machine of
two cores, with its id. `make test` begins with the longest files. `make quick` leaves these tests out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
FILE: Final = Path(__file__).with_name("times.txt")
# Seconds of a short test, which is not in the file.
SHORT: Final = 0.25


def known(file: Path | None = None) -> dict[str, float]:
    """Seconds of tests that are not short, by id."""
    file = file or FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {nodeid: float(seconds) for seconds, _, nodeid in (line.partition("\t") for line in lines)}


def file_of(nodeid: str) -> str:
    """The file of a test, from the project's root."""
    return nodeid.partition("::")[0]


def written(times: Mapping[str, float]) -> str:
    """The contents of the file: a line for each test that is not short, in the order of ids."""
    return "".join(f"{s:.1f}\t{nodeid}\n" for nodeid, s in sorted(times.items()) if s >= SHORT)


class Stopwatch:
    """A plugin of pytest that adds up the time of each test, with the fixtures it sets up."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest after each phase of a test, in the process that shows results."""
        self.times[report.nodeid] = self.times.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Called by pytest at the end. What did not run keeps the time that it had, if its file is there."""
        there = {nodeid: seconds for nodeid, seconds in known().items() if (ROOT / file_of(nodeid)).exists()}
        FILE.write_text(written(there | self.times), encoding="utf-8")
