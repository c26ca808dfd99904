"""One Ray for all tests in this folder that need a real one in their process; it takes seconds to start."""

import contextlib
import os
import time

import pytest

from ipserver.workers.on_ray.executor import RayExecutor
from ipserver.workers.on_ray.processes import parents_of_processes, with_descendants


@pytest.fixture(scope="package")
def ray_here(tmp_path_factory):
    """An executor with two cores, for files called `test_ray_*.py` (see `tests.parallel`).

    It is started in a working folder with files that have the names of libraries.
    """
    home, working = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("working")
    for name in ("torch", "numpy", "ray", "sklearn", "json"):
        (working / f"{name}.py").write_text("raise ImportError('a file of the working folder')")
    with contextlib.chdir(working):
        executor = RayExecutor(cpus=2, home=home)
    folder = executor._own._folder.path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(home / "ray-token")
    yield executor
    processes = ray_pids(executor)
    executor.close()
    assert not folder.exists()
    wait_until_gone(processes)


def ray_pids(executor):
    """All processes of the executor's Ray."""
    return with_descendants(executor._own._processes)


def wait_until_gone(pids):
    deadline = time.monotonic() + 60
    while any(pid in parents_of_processes() for pid in pids):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.02)
