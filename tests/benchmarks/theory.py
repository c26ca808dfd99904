"""Time of the theory: `python -m tests.benchmarks.theory` prints a table, then one line of JSON."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

from ipcore.theory import analyze, complete, preset
from tests.benchmarks import output

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
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    arguments = parser.parse_args()
    seconds = measure()
    for name, value in seconds.items():
        print(f"{name:<52} {value * 1000:9.2f} ms")
    output.give({"python": platform.python_version(), "seconds": seconds}, arguments.json)


if __name__ == "__main__":
    main()
