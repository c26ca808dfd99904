"""The machine and versions of its software: `python -m tests.gpu.environment --json FILE`."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from tests.benchmarks import output

_PACKAGES = ("torch", "numpy", "scikit-learn", "safetensors", "hypothesis", "pytest")
_SMI = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.max.mem"


def environment(device: str) -> dict[str, object]:
    """Facts that need no training."""
    found: dict[str, object] = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "memory_GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "versions": {name: _version(name) for name in _PACKAGES},
        "commit": _says("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
        "device": device,
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = {
            "name": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_GB": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "nvidia_smi": _says("nvidia-smi", f"--query-gpu={_SMI}", "--format=csv,noheader"),
        }
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _says(*command: str) -> str | None:
    """Output of a program, or None if it fails or is missing."""
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def main() -> None:
    """Print and write the facts."""
    options = output.device_parser(__doc__).parse_args()
    output.give(environment(options.device), options.json)


if __name__ == "__main__":
    main()
