"""Speed of the training engine in two checkouts of this repository, in turns.

    python -m tests.benchmarks.paired OTHER [--turns 20] [--seconds 0.5] [--json FILE]

OTHER is a checkout of another commit (`git worktree add OTHER COMMIT`); the installed packages serve both.
The packs of `tests.benchmarks.engine` are trained by one process per checkout on one thread, in turns,
so that other work on the machine slows both alike. Figures are microseconds of processor time per network and
update, the least of all turns. "ratio" is the median over turns of this checkout's time over the other's, and
"quartiles" and "range" are those of the turns. Compare a checkout with itself to see what no difference is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks import output
from tests.benchmarks.contestants import Case
from tests.benchmarks.engine import LARGE, SMALL

HERE = Path(__file__).parents[2]
# `contestants` has had these names since the first of the commits that may be compared.
_CHILD = """
import sys, time, torch
from tests.benchmarks.contestants import Case, pack
torch.set_num_threads(1)
step = pack(Case({arguments}))
step(3)
for line in sys.stdin:
    begun = time.process_time()
    step(int(line))
    print(time.process_time() - begun, flush=True)
"""


class Subject:
    """A pack that a process of a checkout trains. A context manager."""

    def __init__(self, checkout: Path, case: Case) -> None:
        arguments = (
            f"{case.width}, {case.runs}, hidden_layers={case.hidden_layers}, batch_size={case.batch_size}, "
            f"dataset={case.dataset!r}, activation={case.activation!r}"
        )
        paths = (checkout, checkout / "client", checkout / "server")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD.format(arguments=arguments)],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def seconds(self, updates: int) -> float:
        """Processor seconds of an update."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{updates}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline()) / updates


def compare(other: Path, case: Case, turns: int, seconds: float) -> dict[str, Any]:
    """Both checkouts at one size."""
    with Subject(other, case) as before, Subject(HERE, case) as after:
        pair = (before, after)
        updates = max(1, int(seconds / max(subject.seconds(3) for subject in pair)))
        times: list[list[float]] = [[], []]
        for turn in range(turns):
            for which in (0, 1) if turn % 2 == 0 else (1, 0):
                times[which].append(pair[which].seconds(updates))
    ratios = sorted(new / old for old, new in zip(*times, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4)
    old, new = (1e6 * min(column) / case.runs for column in times)
    return {
        "L": case.hidden_layers,
        "m": case.width,
        "K": case.runs,
        "phi": case.activation,
        "other": round(old, 1),
        "this": round(new, 1),
        "ratio": round(middle, 3),
        "quartiles": f"{low:.3f}..{high:.3f}",
        "range": f"{ratios[0]:.2f}..{ratios[-1]:.2f}",
    }


def run(other: Path, turns: int = 20, seconds: float = 0.5) -> dict[str, Any]:
    """Measure everything.

    Args:
        other: The other checkout.
        turns: Of each checkout at each size, at least 2.
        seconds: Processor time of a turn, approximately.
    """
    relu = [Case(case.width, case.runs, activation="relu") for case in SMALL]
    return {"rows": [compare(other, case, turns, seconds) for case in (*SMALL, *relu, LARGE)]}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    result = run(arguments.other.resolve(), arguments.turns, arguments.seconds)
    print("microseconds of processor time per network and update, one thread")
    output.table(result["rows"])
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
