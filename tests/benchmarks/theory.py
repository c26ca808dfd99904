"""Time of the theory: `python -m tests.benchmarks.theory` prints a table, then one line of JSON.

`--deep` analyses 1,000 layers for every preset, activation and optimizer instead (some minutes); those that
the calculus does not tell apart (tanh and erf, adam and adamw) once. It prints the slowest, and fails if one
takes 2 s or more of processor time.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from ipcore.theory import ACTIVATIONS, OPTIMIZERS, PRESETS, TheoryError, analyze, complete, preset
from ipcore.theory.activation import activation
from ipcore.theory.rules import rule_of
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


def deepest() -> list[tuple[float, str]]:
    """Processor seconds of the analyses of 1,000 layers, the slowest first; what is refused is left out."""
    found = []
    optimizers = {rule_of(name): None for name in OPTIMIZERS}
    kinds = {replace(activation(name), name=""): name for name in reversed((*ACTIVATIONS, "relu^2"))}
    for name in PRESETS:
        for optimizer in optimizers:
            try:
                p = preset(name, 1000, optimizer=optimizer)
            except TheoryError:
                continue
            for phi in kinds.values():
                start = time.process_time()
                analyze(p, optimizer=optimizer, activation=phi)
                found.append((time.process_time() - start, f"{name}, {optimizer}, {phi}"))
        print(f"{name}: {len(found)} so far, {max(found)[0] * 1000:.0f} ms at most", flush=True)
    return sorted(found, reverse=True)


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--deep", action="store_true", help="1,000 layers, every combination")
    arguments = parser.parse_args()
    if arguments.deep:
        slowest = deepest()
        for seconds, what in slowest[:5]:
            print(f"{what:<52} {seconds * 1000:9.2f} ms")
        total = sum(seconds for seconds, _ in slowest)
        print(f"{len(slowest)} analyses of 1,000 layers, {total:.0f} s in all")
        if slowest[0][0] >= 2:
            raise SystemExit("the slowest takes 2 s or more")
        return
    seconds = measure()
    for name, value in seconds.items():
        print(f"{name:<52} {value * 1000:9.2f} ms")
    output.give({"python": platform.python_version(), "seconds": seconds}, arguments.json)


if __name__ == "__main__":
    main()
