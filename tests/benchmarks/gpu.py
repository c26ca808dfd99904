"""The engine on a GPU: `python -m tests.benchmarks.gpu [--seconds 0.5] [--limit 90] [--json FILE]`.

* pack: 64 runs of L = 6, m = 256, batch 512 as one pack, against one at a time, eager ("loop"), and against
  the same pack with its kernels launched one by one ("no graph");
* precision: K runs of L = 6, m = 1024, batch 512, in fp32, tf32 and bf16, against their bare matmuls and the
  rate of one large matmul in that precision, and against fp32;
* widths: networks updated per second by width, L = 3, batch 64, in a pack and alone, with a graph and
  without;
* sweep: the time that the 5,600 runs of the published revision (28 rates, 4 activations, 5 seeds, 5 methods,
  2 datasets; L = 5, m = 1024, batch 512; 600 and 1,200 updates) would take, from measured packs.

The file is written after every figure; figures that would begin after the limit are left out. Without a CUDA
device it only says so; `--device cpu` measures tiny networks. Needs only torch, numpy and scikit-learn.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ipcore.engine.precision import compute_dtype, matmul_precision
from ipcore.planning.machine import update_work
from tests.benchmarks import output
from tests.benchmarks.contestants import Case, Step, loop, matmuls, pack

SWEEP = 28 * 4 * 5 * 5
SWEEP_UPDATES = 600 + 1200
Figures = Iterator[tuple[str, Callable[[], dict[str, object]]]]


class Bench:
    """Measures on a device.

    Args:
        device: "cuda", or "cpu" for tiny networks.
        seconds: Approximate time for each measurement.
    """

    def __init__(self, device: str, seconds: float) -> None:
        self._device, self._seconds = device, seconds
        self._ceilings: dict[str, float] = {}
        self._fp32: dict[int, float] = {}

    def figures(self) -> Figures:
        """Name of a table and a function that measures one row of it."""
        yield "pack", self._small
        precisions = ("fp32", "tf32", "bf16") if self._device == "cuda" else ("fp32", "bf16")
        for precision in precisions:
            for runs in (1, 8, 32):
                yield "precision", lambda precision=precision, runs=runs: self._large(precision, runs)
        for width, runs in ((64, 1024), (128, 512), (256, 256), (512, 128), (1024, 64), (2048, 16)):
            yield "widths", lambda width=width, runs=runs: self._width(width, runs)
        for precision in precisions:
            yield "sweep", lambda precision=precision: self._sweep(precision)

    def _small(self) -> dict[str, object]:
        case = self._case(256, 64, 6)
        one, together = case.runs * self._time(loop(case)), self._time(pack(case))
        single = self._time(pack(case, graph=False))
        return {
            "loop_ms": _ms(one),
            "no_graph_ms": _ms(single),
            "pack_ms": _ms(together),
            "loop/pack": round(one / together, 1),
            "no_graph/pack": round(single / together, 2),
        }

    def _large(self, precision: str, runs: int) -> dict[str, object]:
        case = self._case(1024, runs, 6, precision)
        took = self._time(pack(case))
        with matmul_precision(precision):
            bare = self._time(matmuls(case))
        if precision == "fp32":
            self._fp32[runs] = took
        rate = runs * update_work(case.config, case.data().info) / took
        return {
            "precision": precision,
            "K": runs,
            "ms": _ms(took),
            "matmuls/pack": round(bare / took, 2),
            "of ceiling": round(rate / self._ceiling(precision), 2),
            "fp32/this": round(self._fp32.get(runs, float("nan")) / took, 2),
        }

    def _width(self, width: int, runs: int) -> dict[str, object]:
        case = replace(self._case(width, runs, 3), batch_size=64)
        took, few = self._time(pack(case)), replace(case, runs=1)
        alone, launched = self._time(pack(few)), self._time(pack(few, graph=False))
        return {
            "m": width,
            "K": case.runs,
            "updates_per_s": round(case.runs / took),
            "alone_per_s": round(1 / alone),
            "pack/alone": round(case.runs * alone / took, 1),
            "alone, no_graph/graph": round(launched / alone, 2),
        }

    def _sweep(self, precision: str) -> dict[str, object]:
        case = replace(self._case(1024, 28, 5, precision), activation="gelu")
        hours = SWEEP * SWEEP_UPDATES * self._time(pack(case)) / case.runs / 3600
        return {"precision": precision, "hours": round(hours, 3)}

    def _case(self, width: int, runs: int, hidden_layers: int, precision: str = "fp32") -> Case:
        if self._device == "cpu":
            width, runs = max(4, width // 64), max(1, runs // 32)
        return Case(width, runs, hidden_layers, 512, "images", device=self._device, precision=precision)

    def _ceiling(self, precision: str) -> float:
        """Multiply-adds per second of a large square matmul."""
        if precision not in self._ceilings:
            size = 8192 if self._device == "cuda" else 256
            dtype = compute_dtype(precision, torch.float32)
            a, b = (torch.randn(size, size, device=self._device, dtype=dtype) for _ in range(2))
            out = torch.empty_like(a)

            def step(updates: int) -> None:
                for _ in range(updates):
                    torch.mm(a, b, out=out)

            with matmul_precision(precision):
                self._ceilings[precision] = size**3 / self._time(step)
        return self._ceilings[precision]

    def _time(self, step: Step) -> float:
        """Seconds of one update, the best of five rounds, including the device's work."""
        self._timed(step, 10)
        updates = max(1, int(self._seconds / self._timed(step, 5)))
        return min(self._timed(step, max(1, updates // 5)) for _ in range(5))

    def _timed(self, step: Step, updates: int) -> float:
        self._wait()
        begun = time.perf_counter()
        step(updates)
        self._wait()
        return (time.perf_counter() - begun) / updates

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 3)


def run(
    device: str = "cuda", seconds: float = 0.5, limit: float = 600.0, path: Path | None = None
) -> dict[str, Any]:
    """Measure everything.

    Args:
        device: "cuda" or "cpu".
        seconds: Approximate time for each measurement.
        limit: Seconds after which no measurement begins.
        path: Written after every figure.
    """
    deadline = time.monotonic() + limit
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    result: dict[str, Any] = {"device": name, "left out": [], "failed": []}
    for table, figure in Bench(device, seconds).figures():
        if time.monotonic() > deadline:
            result["left out"].append(table)
            continue
        try:
            result.setdefault(table, []).append(figure())
        except RuntimeError as error:  # for example out of memory; the other figures are still measured
            result["failed"].append(f"{table}: {error}")
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        if path is not None:
            path.write_text(json.dumps(result) + "\n")
    return result


def main() -> int:
    """Print tables and write JSON; 1 if a figure failed."""
    parser = output.device_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.set_defaults(device="cuda")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing was measured")
        return 0
    seconds = options.seconds if options.device == "cuda" else 0.001
    result = run(options.device, seconds, options.limit, options.json)
    for name, rows in result.items():
        if name in ("pack", "precision", "widths", "sweep"):
            print(name)
            output.table(rows)
    output.give(result, options.json)
    return int(bool(result["failed"]))


if __name__ == "__main__":
    raise SystemExit(main())
