"""Speed of two checkouts of this repository, in turns.

    python -m tests.benchmarks.paired OTHER [--part engine] [--turns 20] [--seconds 0.5] [--json FILE]

OTHER is a checkout of another commit (`git worktree add OTHER COMMIT`); the installed packages serve both.
Each checkout has a process per row (`paired_work.py`). They work in turns, so that other work on the machine
slows both alike:

* engine: the packs of `tests.benchmarks.engine` on one thread, in microseconds per network and update;
* store: commits of slices of 16 runs to SQLite, and submits of four runs through an API process;
* watches: 50 open watches of an experiment, per event: the time until all have it, and the API's processor
  time (`--seconds 4`);
* restarts: the API and the dispatcher after kill -9, with 2,000 ended runs stored: the time until a request
  is answered or the training goes on, and the processor time until then (about a minute per turn);
* service: `ipserver up` from its start until MLflow has the 48 runs that it trained (a minute or two).

Figures called "cpu" are of processor time. All but those of packs are in milliseconds, and each is the least
of all turns. "ratio" is the median over turns of this checkout's time over the other's, and "quartiles" and
"range" are those of the turns. Compare a checkout with itself to see what no difference is.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks import output
from tests.benchmarks.contestants import Case
from tests.benchmarks.engine import LARGE, SMALL

HERE = Path(__file__).parents[2]


class Subject:
    """A process of a checkout. A context manager.

    Args:
        checkout: Root of the checkout.
        work: Name of the work, and arguments (`paired_work.py`).
    """

    def __init__(self, checkout: Path, work: Sequence[str]) -> None:
        paths = (checkout, checkout / "client", checkout / "server")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("paired_work.py")), *work],
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

    def seconds(self, amount: float) -> dict[str, float]:
        """Seconds that a unit of work takes, by figure, from an amount of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{amount}\n")
        self._process.stdin.flush()
        found: dict[str, float] = json.loads(self._process.stdout.readline())
        return found


def compare(
    other: Path, work: Sequence[str], turns: int, amount: float | None, seconds: float
) -> dict[str, Any]:
    """Both checkouts at one kind of work: rows by figure.

    Args:
        other: The other checkout.
        work: See `Subject`.
        turns: Turns of each checkout.
        amount: Amount of work in a turn; None: as many units as take `seconds`.
        seconds: See `amount`.
    """
    with Subject(other, work) as before, Subject(HERE, work) as after:
        pair = (before, after)
        first = [subject.seconds(amount or 3) for subject in pair]  # warms up
        if amount is None:
            amount = max(1, int(seconds / max(max(found.values()) for found in first)))
        times: list[list[dict[str, float]]] = [[], []]
        for turn in range(turns):
            for which in (0, 1) if turn % 2 == 0 else (1, 0):
                times[which].append(pair[which].seconds(amount))
    print(json.dumps(times), file=sys.stderr, flush=True)
    return {figure: _row(*([found[figure] for found in side] for side in times)) for figure in first[0]}


def _row(before: list[float], after: list[float]) -> dict[str, Any]:
    ratios = sorted(new / old for old, new in zip(before, after, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "other": min(before),
        "this": min(after),
        "ratio": round(middle, 3),
        "quartiles": f"{low:.3f}..{high:.3f}",
        "range": f"{ratios[0]:.2f}..{ratios[-1]:.2f}",
    }


def engine(other: Path, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Packs, a row per size and activation."""
    rows = []
    relu = [Case(case.width, case.runs, activation="relu") for case in SMALL]
    for case in (*SMALL, *relu, LARGE):
        about = {"L": case.hidden_layers, "m": case.width, "K": case.runs, "phi": case.activation}
        row = compare(other, ("pack", json.dumps(asdict(case))), turns, None, seconds)["cpu"]
        each = {name: round(1e6 * row[name] / case.runs, 1) for name in ("other", "this")}
        rows.append(about | row | each)
    return rows


# Work by part: a row's name, the work, and the amount of it in a turn; see `compare`. "seconds": that many.
PARTS: dict[str, dict[str, tuple[Sequence[str], float | str | None]]] = {
    "engine": {},
    "store": {"commit": (["commits"], "seconds"), "submit": (["submits"], "seconds")},
    "watches": {"event": (["watches"], None)},
    "restarts": {"API": (["api_restarts"], 1), "dispatcher": (["dispatcher_restarts"], 1)},
    "service": {"48 runs": (["service", "48"], 1)},
}


def parts_of_the_service(other: Path, part: str, turns: int, seconds: float) -> list[dict[str, Any]]:
    """Any part but the engine, a row per figure."""
    rows = []
    for name, (work, amount) in PARTS[part].items():
        given = seconds if amount == "seconds" else amount
        assert not isinstance(given, str)
        for figure, row in compare(other, work, turns, given, seconds).items():
            each = {side: round(1e3 * row[side], 2) for side in ("other", "this")}
            rows.append({"": f"{name}, {figure}"} | row | each)
    return rows


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--part", choices=PARTS, default="engine")
    parser.add_argument("--turns", type=int, default=20, help="of each checkout, at least 2")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a turn, approximately")
    arguments = parser.parse_args()
    other, turns, seconds = arguments.other.resolve(), arguments.turns, arguments.seconds
    if arguments.part == "engine":
        rows = engine(other, turns, seconds)
    else:
        rows = parts_of_the_service(other, arguments.part, turns, seconds)
    output.table(rows)
    output.give({"rows": rows}, arguments.json)


if __name__ == "__main__":
    main()
