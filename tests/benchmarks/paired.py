"""Speed of two checkouts of this repository, in turns.

    python -m tests.benchmarks.paired OTHER [--part engine] [--turns 20] [--seconds 0.5] [--json FILE]

OTHER is a checkout of another commit (`git worktree add OTHER COMMIT`); the installed packages serve both.
Each checkout has a process per row. They work in turns, so that other work on the machine slows both alike:

* engine: the packs of `tests.benchmarks.engine` on one thread, in microseconds per network and update;
* store: commits of slices of 16 runs to SQLite, and submits of four runs through an API process, in
  milliseconds of the committing or the API's process each (`tests.benchmarks.durability`).

Figures are of processor time, the least of all turns. "ratio" is the median over turns of this checkout's
time over the other's, and "quartiles" and "range" are those of the turns. Compare a checkout with itself to
see what no difference is.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tests.benchmarks import output
from tests.benchmarks.contestants import Case
from tests.benchmarks.engine import LARGE, SMALL

HERE = Path(__file__).parents[2]
# Each defines `work(amount)`, which returns processor seconds of a unit of work, with what benchmarks of all
# commits that may be compared have.
_PACK = """
from tests.benchmarks.contestants import Case, pack
torch.set_num_threads(1)
step = pack(Case(ARGUMENTS))
step(3)
def work(updates):
    begun = time.process_time()
    step(int(updates))
    return (time.process_time() - begun) / int(updates)
"""
_COMMITS = """
from tests.benchmarks import durability
from ipserver.store import migrate, open_store
dsn = f"sqlite:///{folder}/iplab.db"
migrate(dsn)
def work(seconds):
    name = f"c{uuid.uuid4().hex[:12]}"
    with open_store(dsn) as store:
        durability._planned(store, name, runs=16, packs=1)
    begun = time.process_time()
    times = durability._commit(dsn, [name], seconds)
    return (time.process_time() - begun) / len(times)
"""
_SUBMITS = """
from tests.benchmarks import durability
from ipserver.store import migrate
dsn = f"sqlite:///{folder}/iplab.db"
migrate(dsn)
address, api = stack.enter_context(durability.api(dsn, pathlib.Path(folder)))
def used():
    ticks = pathlib.Path(f"/proc/{api}/stat").read_text().rpartition(") ")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
def work(seconds):
    begun, count = used(), 0
    while not count:
        count = durability.submits(address, 1, seconds) * seconds
    return (used() - begun) / count
"""
_CHILD = """
import os, pathlib, sys, tempfile, time, uuid
from contextlib import ExitStack
import torch
with ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="iplab-"))
    WORK
    for line in sys.stdin:
        print(work(float(line)), flush=True)
"""


class Subject:
    """A process of a checkout. A context manager.

    Args:
        checkout: Root of the checkout.
        work: Python code that defines `work`.
    """

    def __init__(self, checkout: Path, work: str) -> None:
        paths = (checkout, checkout / "client", checkout / "server")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD.replace("WORK", textwrap.indent(work.strip(), "    ").strip())],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def seconds(self, amount: float) -> float:
        """Processor seconds of a unit of work, from an amount of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{amount}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def compare(other: Path, work: str, turns: int, amount: float | None, seconds: float) -> dict[str, Any]:
    """Both checkouts at one kind of work.

    Args:
        other: The other checkout.
        work: Python code that defines `work`.
        turns: Of each checkout.
        amount: Of work in a turn; None: as many units as take `seconds`.
        seconds: See `amount`.
    """
    with Subject(other, work) as before, Subject(HERE, work) as after:
        pair = (before, after)
        if amount is None:
            amount = max(1, int(seconds / max(subject.seconds(3) for subject in pair)))
        times: list[list[float]] = [[], []]
        for turn in range(turns):
            for which in (0, 1) if turn % 2 == 0 else (1, 0):
                times[which].append(pair[which].seconds(amount))
    print(json.dumps(times), file=sys.stderr, flush=True)
    ratios = sorted(new / old for old, new in zip(*times, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "other": min(times[0]),
        "this": min(times[1]),
        "ratio": round(middle, 3),
        "quartiles": f"{low:.3f}..{high:.3f}",
        "range": f"{ratios[0]:.2f}..{ratios[-1]:.2f}",
    }


def engine(other: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Packs, a row per size and activation."""
    rows = []
    relu = [Case(case.width, case.runs, activation="relu") for case in SMALL]
    for case in (*SMALL, *relu, LARGE):
        arguments = (
            f"{case.width}, {case.runs}, hidden_layers={case.hidden_layers}, batch_size={case.batch_size}, "
            f"dataset={case.dataset!r}, activation={case.activation!r}"
        )
        about = {"L": case.hidden_layers, "m": case.width, "K": case.runs, "phi": case.activation}
        found = compare(other, _PACK.replace("ARGUMENTS", arguments), turns, None, seconds)
        each = {name: round(1e6 * found[name] / case.runs, 1) for name in ("other", "this")}
        rows.append(about | found | each)
    return rows


def store(other: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Commits and submits."""
    rows = []
    for name, work in (("commit", _COMMITS), ("submit", _SUBMITS)):
        found = compare(other, work, turns, seconds, seconds)
        rows.append({"": name} | found | {side: round(1e3 * found[side], 2) for side in ("other", "this")})
    return rows


PARTS = {"engine": engine, "store": store}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--part", choices=PARTS, default="engine")
    parser.add_argument("--turns", type=int, default=20, help="of each checkout, at least 2")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn, approximately")
    arguments = parser.parse_args()
    rows = PARTS[arguments.part](arguments.other.resolve(), arguments.turns, arguments.seconds)
    output.table(rows)
    output.give({"rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
