"""The engine on a GPU: `python -m tests.benchmarks.gpu [--seconds 5] [--json FILE]`; says if there is none.

* 64 runs of L = 6, m = 256, batch 512 as one pack, against one at a time, eager;
* K runs of L = 6, m = 1024, batch 512, in fp32, tf32 and bf16, against the rate of one large matmul in that
  precision;
* the time that the 5,600 runs of the published revision (28 rates, 4 activations, 5 seeds, 5 methods, 2
  datasets; L = 5, m = 1024, batch 512; 600 and 1,200 updates) would take, from measured packs.

Needs torch, numpy and scikit-learn alone.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from ipcore.precision import compute_dtype, matmul_precision
from tests.benchmarks import output
from tests.benchmarks.contestants import Case, Step, loop, matmuls, pack

SMALL = Case(256, 64, hidden_layers=6, batch_size=512, dataset="images", device="cuda")
LARGE_RUNS = (1, 8, 32)
SWEEP = 28 * 4 * 5 * 5
SWEEP_UPDATES = 600 + 1200


def seconds(step: Step, seconds: float) -> float:
    """Of one update, the best of five rounds, the device waited for."""
    step(10)
    torch.cuda.synchronize()
    begun = time.perf_counter()
    step(5)
    torch.cuda.synchronize()
    updates = max(1, int(seconds / 5 / ((time.perf_counter() - begun) / 5)))
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        step(updates)
        torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - begun) / updates)
    return best


def ceiling(precision: str, budget: float) -> float:
    """Multiply-adds per second of an 8192 x 8192 x 8192 matmul."""
    dtype = compute_dtype(precision, torch.float32)
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)

    def step(updates: int) -> None:
        for _ in range(updates):
            torch.mm(a, b, out=out)

    with matmul_precision(precision):
        return 8192**3 / seconds(step, budget)


def large(precision: str, runs: int, budget: float) -> dict[str, object]:
    """K networks of the published size."""
    from ipcore.machine import update_work

    case = Case(1024, runs, 6, 512, "images", device="cuda", precision=precision)
    took = seconds(pack(case), budget)
    with matmul_precision(precision):
        bare = seconds(matmuls(case), budget)
    rate = runs * update_work(case.config, case.data().info) / took
    return {
        "precision": precision,
        "K": runs,
        "ms": round(1e3 * took, 2),
        "matmuls/pack": round(bare / took, 2),
        "of ceiling": round(rate / ceiling(precision, budget), 2),
    }


def sweep_hours(budget: float) -> float:
    """Hours of the 5,600 runs on this device in fp32, from a pack of one activation."""
    case = Case(1024, 28, 5, 512, "images", "gelu", device="cuda")
    return SWEEP * SWEEP_UPDATES * seconds(pack(case), budget) / case.runs / 3600


def run(budget: float = 5.0) -> dict[str, Any]:
    """Measure everything.

    Args:
        budget: Seconds for each figure.
    """
    one_by_one, together = SMALL.runs * seconds(loop(SMALL), budget), seconds(pack(SMALL), budget)
    return {
        "device": torch.cuda.get_device_name(),
        "one_by_one_ms": round(1e3 * one_by_one, 2),
        "pack_ms": round(1e3 * together, 2),
        "one_by_one/pack": round(one_by_one / together, 1),
        "large": [large(p, runs, budget) for p in ("fp32", "tf32", "bf16") for runs in LARGE_RUNS],
        "sweep_hours": round(sweep_hours(budget), 2),
    }


def main() -> None:
    """Print tables and write JSON."""
    parser = output.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device: nothing was measured")
        return
    result = run(arguments.seconds)
    for name, value in result.items():
        if name != "large":
            print(f"{name:<18} {value}")
    output.table(result["large"])
    output.give(result, arguments.json)


if __name__ == "__main__":
    main()
