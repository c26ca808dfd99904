"""The number of workers and the order of tests. Each run of the suite shows that workers follow it."""

import re
from pathlib import Path

import joblib
import pytest

from tests import parallel

TESTS = Path(__file__).parent


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with given cores and memory, as a container of it sees them."""

    def made(cores, available_gib, limit="max"):
        (tmp_path / "meminfo").write_text(
            f"MemTotal: 99999999 kB\nMemAvailable:   {available_gib << 20} kB\n"
        )
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        files = [tmp_path / name for name in ("meminfo", "memory.max", "nowhere")]
        told = [(str(file), *rest) for file, (_, *rest) in zip(files, parallel.MEMORY, strict=True)]
        monkeypatch.setattr(parallel, "MEMORY", told)
        monkeypatch.setattr(joblib, "cpu_count", lambda: cores)

    return made


@pytest.mark.parametrize(
    ("cores", "available_gib", "limit", "expected"),
    [
        (2, 64, "max", 4),
        (1, 64, "max", 3),
        (64, 15, "max", 7),
        (64, 64, 9 << 30, 4),
        (8, 1, "max", 1),
        (4, 64, 9223372036854771712, 6),  # the value of cgroups version 1 for "no limit"
    ],
)
def test_workers_fit_cores_and_memory(machine, cores, available_gib, limit, expected):
    machine(cores, available_gib, limit)
    assert parallel.workers() == expected


def test_ray_in_the_process_first_then_what_takes_longest_then_the_rest():
    tests = [
        ("tests/a/test_one.py::test_x", 0.0),
        ("tests/a/test_slow.py::test_quick", 0.0),
        ("tests/a/test_slow.py::test_slow", 5.0),
        ("tests/a/test_slower.py::test_slow", 60.0),
        ("tests/b/test_ray_executor.py::test_it[a::b]", 5.0),
        ("tests/b/test_ray_sizes.py::test_it", 30.0),
        ("tests/b/test_two.py::test_y", 0.0),
    ]
    assert parallel.in_order(tests) == [4, 5, 3, 1, 2, 0, 6]


def test_a_file_stays_together_and_so_do_those_that_share_a_ray():
    assert parallel.together("tests/a/test_one.py::test_x[y::z]") == "tests/a/test_one.py"
    assert (
        parallel.together("tests/a/test_ray_executor.py::test_x")
        == parallel.together("tests/a/test_ray_sizes.py::test_y[z]")
        == "tests/a/test_ray_"
    )


def test_ray_is_started_in_this_process_only_where_that_comes_first():
    starting = re.compile(r"\bRayExecutor\(|\bray\.init\(|\bray_here\b")
    others = {"benchmarks", "cluster", "faults", "gpu"}  # they run as separate programs
    found = [
        str(file.relative_to(TESTS))
        for file in sorted(TESTS.rglob("*.py"))
        if not others & set(file.relative_to(TESTS).parts)
        and file not in {Path(__file__), TESTS / "ipserver" / "workers" / "conftest.py"}
        and not file.name.startswith(parallel.RAY_HERE)
        and starting.search(file.read_text(encoding="utf-8"))
    ]
    assert found == [], f"name them {parallel.RAY_HERE}*.py: see tests/parallel.py"
