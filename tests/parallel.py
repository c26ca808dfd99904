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
# Ray forks to start its processes, and a child that is forked while gRPC threads run may hang. So tests that
# start Ray in their own process (not in one of `ipserver`) are in files with this name at the front: they are
# the first that a worker runs, and one worker runs them all.
RAY_HERE = "test_ray_"


def workers() -> int:
    """One more than the cores that this process may use (affinity, cgroups), as far as memory allows.

    Those of a test that wait for processes leave a core to the others.
    """
    import joblib  # scikit-learn brings it

    by_memory = [int(size / WORKER_BYTES) for size in (_stated(*entry) for entry in MEMORY) if size]
    return max(1, min([joblib.cpu_count() + 1, *by_memory]))


def together(nodeid: str) -> str:
    """The group of a test: tests of a group share a worker, and so what their file prepares."""
    file = nodeid.partition("::")[0]
    return RAY_HERE if Path(file).name.startswith(RAY_HERE) else file


def in_order(tests: Sequence[tuple[str, frozenset[str]]]) -> list[int]:
    """Positions of tests, given by their ids and marks, in the order in which they should run.

    Files that start Ray here go first; then what takes long, so that no worker is left with it at the end.
    """
    slow = {together(nodeid) for nodeid, marks in tests if marks & {"slow", "ray"}}

    def rank(position: int) -> int:
        group = together(tests[position][0])
        return 0 if group == RAY_HERE else 1 if group in slow else 2

    return sorted(range(len(tests)), key=rank)


def _stated(file: str, pattern: str, unit: int) -> int:
    """What a file of the kernel says in bytes; 0: nothing."""
    try:
        found = re.search(pattern, Path(file).read_text())
    except OSError:
        return 0
    return int(found[1]) * unit if found else 0
