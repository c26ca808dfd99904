"""All benchmarks, one after another (`make bench`): tables for people, JSON below the folder given.

Every figure is a ratio against a baseline measured in the same run, or says what it is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

BENCHMARKS = (
    *("engine", "autograd", "scaling", "memory", "probes", "limits", "theory"),
    *("service", "forwarding", "durability", "scheduling", "attacks", "laboratory", "gpu"),
)


def main() -> int:
    """Run the benchmarks in processes of their own; returns the number that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="Which; all by default.")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="Write NAME.json there.")
    options = parser.parse_args()
    failed = 0
    for name in options.names or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        target = []
        if options.json:
            options.json.mkdir(parents=True, exist_ok=True)
            target = ["--json", str(options.json / f"{name}.json")]
        failed += subprocess.call([sys.executable, "-m", f"tests.benchmarks.{name}", *target]) != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
