"""Time of an update as packs grow: against K, m and L, and against the planner's prediction.

    python -m tests.benchmarks.scaling [--seconds 1] [--json FILE]

One process on one core. "us" is microseconds per network and update. "model" is the time predicted from the
profile that a worker measures, over the measured time.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ipcore.planning.machine import MachineProfile
from ipcore.training.profiling import measure
from tests.benchmarks import output
from tests.benchmarks.contestants import Case, pack
from tests.benchmarks.cores import Contestant, race

SIZES = (
    *((3, 64, K) for K in (1, 4, 16, 32, 64, 256)),
    *((3, 128, K) for K in (1, 4, 16, 64)),
    *((3, 256, K) for K in (1, 4, 16)),
    *((L, 64, 32) for L in (1, 6, 12)),
    (3, 512, 2),
)


def row(
    hidden_layers: int, width: int, runs: int, profile: MachineProfile, seconds: float
) -> dict[str, float]:
    """One size."""
    case = Case(width, runs, hidden_layers)
    info = case.data().info
    took = race({"pack": Contestant(pack, case, 1, 1)}, seconds)["pack"]
    predicted = profile.update_seconds(case.config, info, runs)
    return {
        "L": hidden_layers,
        "m": width,
        "K": runs,
        "us": round(1e6 * took / runs, 1),
        "model": round(predicted / took, 2),
    }


def run(seconds: float = 1.0) -> dict[str, Any]:
    """Measure everything.

    Args:
        seconds: For each size.
    """
    profile = measure(threads=1)
    return {"profile": asdict(profile), "rows": [row(*size, profile, seconds) for size in SIZES]}


def main() -> None:
    """Print a table and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    result = run(arguments.seconds)
    print("profile:", result["profile"])
    output.table(result["rows"])
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
