"""Distribution of the suite over pytest-xdist's workers: their number, groups of tests, and the order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# Memory of a worker with torch and MLflow loaded, and of the service (with Ray) that its test starts.
WORKER_BYTES = 2 << 30
MEMORY = (
    ("/proc/meminfo", r"MemAvailable: +(\d+) kB", 1024),
    ("/sys/fs/cgroup/memory.max", r"^(\d+)$", 1),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", r"^(\d+)$", 1),
)
# Number of workers beyond the cores: tests of real services mostly wait for processes to start or end.
WAITING = 2
# Ray forks to start its processes, and a child that is forked while gRPC threads run may hang. So a worker
# first runs the tests that start Ray in their own process (not in a process of `ipserver`). Their files have
# this prefix, and share one Ray.
RAY_HERE = "test_ray_"


def workers(waiting: int = WAITING) -> int:
    """The number of workers: the cores that this process may use, and some more, as far as memory allows.

    Args:
        waiting: Number of workers beyond the cores.
    """
    import joblib  # scikit-learn brings it

    by_memory = [int(size / WORKER_BYTES) for size in (_stated(*entry) for entry in MEMORY) if size]
    return max(1, min([joblib.cpu_count() + waiting, *by_memory]))


def together(nodeid: str) -> str:
    """The group of a test: its file, or all files of its folder that start Ray in their process.

    Tests of a group share a worker, and with it the fixtures of their file or of their Ray.
    """
    file = nodeid.partition("::")[0]
    folder, slash, name = file.rpartition("/")
    return f"{folder}{slash}{RAY_HERE}" if name.startswith(RAY_HERE) else file


def in_order(tests: Sequence[tuple[str, float]]) -> list[int]:
    """Positions of tests in the order in which they should run.

    Files that start Ray in their own process go first, then the others by their time. The longest begin
    first, so that no worker has a long file at the end.

    Args:
        tests: For each test its id and its seconds.
    """
    groups = [together(nodeid) for nodeid, _ in tests]
    seconds = dict.fromkeys(groups, 0.0)
    for group, (_, its) in zip(groups, tests, strict=True):
        seconds[group] += its
    ranks = {group: (Path(group).name != RAY_HERE, -total) for group, total in seconds.items()}
    return sorted(range(len(tests)), key=lambda position: ranks[groups[position]])


def _stated(file: str, pattern: str, unit: int) -> int:
    """A size in bytes from a file of the kernel; 0: the file has none."""
    try:
        found = re.search(pattern, Path(file).read_text())
    except OSError:
        return 0
    return int(found[1]) * unit if found else 0
