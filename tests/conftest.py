"""For the whole suite: one thread per process, and how pytest-xdist distributes it (`make test`)."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import sys
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

from tests import scratch
from tests.parallel import in_order, together, workers
from tests.times import Stopwatch, known

# Read when numpy and scipy are imported, here and in processes that tests start. A second thread of OpenBLAS
# gains nothing for small matrices but waits in a loop: products of 512 x 512 take four times the CPU.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Niceness of the workers and of the processes that they start. The forwarder's is 19. Beside a busy worker of
# niceness 0 it gets 1.5 % of a core, so tests wait for it for minutes; beside one of these it gets 40 %.
NICENESS = 17
# No deadlines: the time of an example depends on how busy the machine is. Examples are the same in every run,
# so that runs fail or pass alike; IPLAB_TEST_SEARCH asks for new ones, and for twice as many.
SEARCH = "IPLAB_TEST_SEARCH" in os.environ
hypothesis.settings.register_profile(
    "iplab",
    deadline=None,
    derandomize=not SEARCH,
    max_examples=100 if SEARCH else 50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("iplab")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("iplab")
    group.addoption(
        "--quick", action="store_true", help="leave out tests of Ray and tests that are not short"
    )
    group.addoption("--write-times", action="store_true", help="measure the tests, and write tests/times.txt")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if (folder := scratch.folder()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))  # pytest's own variable for `tmp_path`


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that must be first in a process, and long files, go first: see `tests.parallel`."""
    times = known()
    if config.option.quick:
        long = [item.nodeid in times or item.get_closest_marker("ray") is not None for item in items]
        config.hook.pytest_deselected(items=[*itertools.compress(items, long)])
        items[:] = [item for item, left_out in zip(items, long, strict=True) if not left_out]
    items[:] = [items[n] for n in in_order([(item.nodeid, times.get(item.nodeid, 0.0)) for item in items])]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage during collection, and exempt the objects that exist afterwards.

    Hardly any of the million objects are garbage; to find the few takes each worker most of a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _logs_of_commands_end_with_their_test() -> Iterator[None]:
    """Commands that tests call in their process set up logs; those of the next test must not write them."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in before and type(handler).__module__.startswith("ipserver."):
            root.removeHandler(handler)
            root.setLevel(level)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The meaning of `-n auto`. `make quick` leaves out the tests that wait."""
    return workers(0) if config.option.quick else workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run the tests of a file in one worker and in their order."""
    if config.getvalue("dist") != "load":  # the user asked for another scheduler
        return None
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = together  # type: ignore[method-assign]
    return scheduler


class Failures:
    """Prints a line for each failure when it happens, since the whole run takes minutes."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message.partition("\n")[0] if crash else report.longreprtext[:200]
            self._terminal.write_line(f"\n{report.when} of {report.nodeid} failed: {why}")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):  # a worker, which has no terminal
        os.nice(max(0, NICENESS - os.getpriority(os.PRIO_PROCESS, 0)))
    else:
        plugins = session.config.pluginmanager
        if (terminal := plugins.get_plugin("terminalreporter")) is not None:
            plugins.register(Failures(terminal))
        if session.config.option.write_times:
            plugins.register(Stopwatch())


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices gain nothing from threads, and become much slower when cores are busy."""
    torch = sys.modules.get("torch")  # tests that do not need torch do not load it
    before = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def no_server_of_forks_is_left() -> Iterator[None]:
    """The server that starts processes for pools ends with the tests, not some time after them."""
    yield
    if (module := sys.modules.get("multiprocessing.forkserver")) is not None:
        module._forkserver._stop()
