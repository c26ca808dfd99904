"""Runs the parts in turn, each in its own process and within its time: `python -m tests.gpu [OUT]`.

If a part fails, hangs or has no time left, the others still run. summary.json has the result of each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.gpu import programs


@dataclass(frozen=True, slots=True)
class Part:
    """One program.

    Attributes:
        name: Name of the part and of its file.
        module: Module that is run.
        seconds: Time limit, if that much is left; inf: all the remaining time.
        small: Seconds after which its miniature begins no further work.
        file: File in the folder of results.
    """

    name: str
    module: str
    seconds: float
    small: float
    file: str


PARTS: Final = (
    Part("environment", "tests.gpu.environment", 40, 20, "environment.json"),
    Part("tests", "tests.gpu.device_tests", 120, 20, "tests.json"),
    Part("speed", "tests.benchmarks.gpu", 90, 1, "speed.json"),
    Part("memory", "tests.benchmarks.memory", 60, 1, "memory.json"),
    Part("limits", "tests.gpu.limits", 120, 60, "limits.jsonl"),
    Part("authors", "tests.gpu.authors", 150, 20, "authors.jsonl"),
    Part("sweep", "tests.gpu.sweep", float("inf"), 20, "sweep.jsonl"),
)
# A part ends by itself at its limit. A part that hangs is killed this many seconds later.
_GRACE: Final = 10.0
# A part is not started with less time than this.
_LEAST: Final = 15.0


def main() -> int:
    """Run the parts; return the number of failed ones."""
    parser = argparse.ArgumentParser(prog="tests/gpu.sh", description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, help="folder of results; default: a new temporary one")
    parser.add_argument("--seconds", type=float, default=540.0, help="for everything together")
    parser.add_argument("--parts", nargs="+", choices=[part.name for part in PARTS], help="only these")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    out = options.out or Path(tempfile.mkdtemp(prefix="iplab-gpu-"))
    out.mkdir(parents=True, exist_ok=True)
    device = _device()
    if device == "cpu":
        # Several threads are slower than one for tiny networks, and much slower on a busy machine.
        os.environ["OMP_NUM_THREADS"] = "1"
    print(f"results: {out}" + ("" if device == "cuda" else "; no CUDA device: a miniature on the CPU"))
    summary: dict[str, Mapping[str, object]] = {}
    for part in PARTS:
        if options.parts and part.name not in options.parts:
            continue
        summary[part.name] = _run(part, out, device, deadline)
        print(f"== {part.name}: {json.dumps(summary[part.name])}", flush=True)
        (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return sum(entry["state"] not in ("done", "left out") for entry in summary.values())


def _device() -> str:
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return "cpu"  # none may be used; to load torch takes a second
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _run(part: Part, out: Path, device: str, deadline: float) -> dict[str, object]:
    left = deadline - time.monotonic() - _GRACE
    if left < _LEAST:
        return {"state": "left out", "reason": f"{max(0.0, left):.0f} s were left"}
    small = device == "cpu"
    limit = min(part.small if small else part.seconds, left)
    print(f"== {part.name}: up to {limit:.0f} s", flush=True)
    words = ["--json", str(out / part.file), "--device", device, "--limit", f"{limit:.1f}"]
    begun = time.monotonic()
    timeout = left if small else limit + _GRACE
    code = programs.run(part.module, words, timeout)
    if code is None:
        state: dict[str, object] = {"state": "cut", "reason": f"it had not ended after {timeout:.0f} s"}
    else:
        state = {"state": "done"} if code == 0 else {"state": "failed", "exit": code}
    return {**state, "seconds": round(time.monotonic() - begun, 1), "file": part.file}


if __name__ == "__main__":
    sys.exit(main())
