"""Speed of the training engine against plain PyTorch and against its own matmuls.

    python -m tests.benchmarks.engine [--cores 2] [--seconds 5] [--json FILE]

K networks (tanh; L = 3, batch 64, digits; and L = 6, m = 1024, batch 512, 784 inputs) are trained by the
contestants of `tests.benchmarks.contestants`. Packs take one process and thread per core, as the service
trains. The plain loop runs once with all cores as threads ("loop") and once as one loop per core ("loops"),
which is faster.
Figures are microseconds per network and update of the whole machine.
"""

from __future__ import annotations

from typing import Any

from tests.benchmarks import output
from tests.benchmarks.contestants import Case, autograd, loop, matmuls, pack
from tests.benchmarks.cores import Contestant, race

# K as `ipcore.planning.machine` finds them best on a core with 32 MB of cache behind it.
SMALL = (Case(64, 32), Case(128, 16), Case(256, 4))
LARGE = Case(1024, 2, hidden_layers=6, batch_size=512, dataset="images")


def compare(case: Case, cores: int, seconds: float) -> dict[str, float]:
    """All contestants at one size."""
    found = race(
        {
            "loop": Contestant(loop, case, 1, cores),
            "loops": Contestant(loop, case, cores, 1),
            "autograd": Contestant(autograd, case, cores, 1),
            "pack": Contestant(pack, case, cores, 1),
            "matmuls": Contestant(matmuls, case, cores, 1),
        },
        seconds,
    )
    at_once = {"loop": 1, "loops": cores}
    each = {name: 1e6 * value / at_once.get(name, cores * case.runs) for name, value in found.items()}
    return {
        "L": case.hidden_layers,
        "m": case.width,
        "K": case.runs,
        **{name: round(value, 1) for name, value in each.items()},
        "loop/pack": round(each["loop"] / each["pack"], 1),
        "loops/pack": round(each["loops"] / each["pack"], 1),
        "matmuls/pack": round(each["matmuls"] / each["pack"], 2),
    }


def run(cores: int = 2, seconds: float = 5.0) -> dict[str, Any]:
    """Measure everything.

    Args:
        cores: Number of cores of the machine.
        seconds: For each contestant at each size; three times as long for the large networks.
    """
    rows = [compare(case, cores, seconds) for case in SMALL]
    return {"cores": cores, "rows": [*rows, compare(LARGE, cores, 3 * seconds)]}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    result = run(arguments.cores, arguments.seconds)
    print(f"microseconds per network and update, {arguments.cores} cores")
    output.table(result["rows"])
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
