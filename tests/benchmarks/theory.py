"""How long the theory takes: `python -m tests.benchmarks.theory` prints a table, then one line of JSON."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from ipcore.theory import analyze, complete, preset

REPEATS = 5


def _cases() -> dict[str, Callable[[], object]]:
    deep = preset("ip-llr", 100)
    ip = preset("ip", 100)
    return {
        "analyze ip-llr, relu, L=100, 10 steps": lambda: analyze(deep, steps=10),
        "analyze ip-llr, tanh (two bounds), L=100, 10 steps": lambda: analyze(
            deep, activation="tanh", steps=10
        ),
        "analyze ip-llr, adam, L=100, 10 steps": lambda: analyze(deep, optimizer="adam", steps=10),
        "analyze ip-llr, relu, L=1000, until settled": lambda: analyze(preset("ip-llr", 1000)),
        "complete ip, L=100": lambda: complete(ip.a, ip.b),
        "analyze mup, relu, L=3": lambda: analyze(preset("mup", 3)),
    }


def measure() -> dict[str, float]:
    """Median seconds of each case over `REPEATS` calls."""
    seconds = {}
    for name, run in _cases().items():
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        seconds[name] = statistics.median(times)
    return seconds


def main() -> None:
    """Print the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    seconds = measure()
    for name, value in seconds.items():
        print(f"{name:<52} {value * 1000:9.2f} ms")
    text = json.dumps({"python": platform.python_version(), "seconds": seconds})
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
