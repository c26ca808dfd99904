"""Runs the CUDA tests of tests/ipcore, with each result: `python -m tests.gpu.device_tests --json FILE`.

On the CPU it runs a few CPU tests instead.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.benchmarks import output

ROOT = Path(__file__).resolve().parents[2]
# Ignore the settings in pyproject.toml that need plugins, which may be missing here.
_ALWAYS = [
    "-q",
    "--continue-on-collection-errors",
    "-p",
    "no:cacheprovider",
    "-c",
    str(ROOT / "pyproject.toml"),
]
_ALWAYS += ["-o", "addopts=--import-mode=importlib", "-W", "ignore::pytest.PytestConfigWarning"]
_TESTS = ROOT / "tests" / "ipcore"
_ON_CUDA = ["-m", "cuda", str(_TESTS)]
_ON_CPU = ["-m", "not cuda", str(_TESTS / "engine" / "test_inputs.py")]


class Results:
    """Writes each test's result at once, and ends the session at the time limit."""

    def __init__(self, path: Path, deadline: float) -> None:
        self._path, self._deadline = path, deadline
        self.tests: list[dict[str, Any]] = []
        self.cut = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._add(report.nodeid, report.outcome, report.duration, report.longreprtext)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._add(report.nodeid, "not collected", 0.0, report.longreprtext)

    def pytest_runtest_teardown(self, item: Any, nextitem: Any) -> None:
        if time.monotonic() > self._deadline and nextitem is not None:
            self.cut, item.session.shouldstop = True, "time is over"

    def document(self) -> dict[str, Any]:
        counts = Counter(test["outcome"] for test in self.tests)
        return {"counts": dict(counts), "cut": self.cut, "tests": self.tests}

    def _add(self, name: str, outcome: str, seconds: float, text: str) -> None:
        test: dict[str, Any] = {"test": name, "outcome": outcome, "seconds": round(seconds, 3)}
        if outcome != "passed":
            test["text"] = text[-4000:]
        self.tests.append(test)
        self._path.write_text(json.dumps(self.document(), indent=1) + "\n")


def main() -> int:
    """Run the tests; return 0 if all passed."""
    options = output.device_parser(__doc__).parse_args()
    try:
        import pytest
    except ImportError:
        output.give({"left out": "pytest is not installed"}, options.json)
        return 0
    results = Results(options.json, time.monotonic() + options.limit)
    code = pytest.main([*_ALWAYS, *(_ON_CUDA if options.device == "cuda" else _ON_CPU)], plugins=[results])
    document = results.document()
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    print(document["counts"], "cut" if results.cut else "")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
