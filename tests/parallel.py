"""How pytest-xdist's workers share the suite: how many there are, what stays together, what goes first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# What a worker takes with torch and MLflow loaded, and the service (with Ray) that its test starts.
WORKER_BYTES = 2 << 30
MEMORY = (
    ("/proc/meminfo", r"MemAvailable: +(\d+) kB", 1024),
    ("/sys/fs/cgroup/memory.max", r"^(\d+)$", 1),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", r"^(\d+)$", 1),
)
# Tests of real services wait most of the time, for processes that start or end, and leave a core to others.
WAITING = 3
# Ray forks to start its processes, and a child that is forked while gRPC threads run may hang. So tests that
# start Ray in their own process (not in one of `ipserver`) are in files with this name at the front: they are
# the first that a worker runs.
RAY_HERE = "test_ray_"


def workers(waiting: int = WAITING) -> int:
    """The cores that this process may use (affinity, cgroups) and some more, as far as memory allows.

    Args:
        waiting: How many of the workers wait most of the time.
    """
    import joblib  # scikit-learn brings it

    by_memory = [int(size / WORKER_BYTES) for size in (_stated(*entry) for entry in MEMORY) if size]
    return max(1, min([joblib.cpu_count() + waiting, *by_memory]))


def together(nodeid: str) -> str:
    """The group of a test, its file: tests of a group share a worker, and so what their file prepares."""
    return nodeid.partition("::")[0]


def in_order(tests: Sequence[tuple[str, float]]) -> list[int]:
    """Positions of tests, in the order in which they should run.

    Files that start Ray here go first, then others by the time that they take: what takes longest begins
    first, so that no worker is left with it at the end. (A worker is given two files to begin with. Of those
    with Ray the shortest is the first: behind it comes what takes longest of all.)

    Args:
        tests: Id of each, and the seconds that its file takes (its mark `takes`).
    """
    seconds: dict[str, float] = {}
    for nodeid, its in tests:
        seconds[together(nodeid)] = max(its, seconds.get(together(nodeid), 0.0))

    def rank(position: int) -> tuple[bool, float]:
        group = together(tests[position][0])
        ray_here = Path(group).name.startswith(RAY_HERE)
        return not ray_here, seconds[group] if ray_here else -seconds[group]

    return sorted(range(len(tests)), key=rank)


def _stated(file: str, pattern: str, unit: int) -> int:
    """What a file of the kernel says in bytes; 0: nothing."""
    try:
        found = re.search(pattern, Path(file).read_text())
    except OSError:
        return 0
    return int(found[1]) * unit if found else 0
