"""For the whole suite: one thread a process, and how pytest-xdist shares it out (`make test`)."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

from tests.parallel import in_order, together, workers

# Niceness of the workers and of the processes that they start. The forwarder's is 19. Beside a busy worker of
# niceness 0 it gets 1.5 % of a core, so tests wait for it for minutes; beside one of these it gets 40 %.
NICENESS = 17
# How long an example takes on a busy machine says nothing of what is tested. Examples are the same in every
# run, so that no run fails by an example that only it has met; IPLAB_TEST_SEARCH asks for new ones.
hypothesis.settings.register_profile(
    "iplab",
    deadline=None,
    derandomize="IPLAB_TEST_SEARCH" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("iplab")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What must be first in a process, or takes long, goes first: see `tests.parallel`."""
    items[:] = [items[n] for n in in_order([(item.nodeid, _seconds(item)) for item in items])]


def _seconds(item: pytest.Item) -> float:
    """About how long a test's file takes, by its marks; 0: not long."""
    takes = item.get_closest_marker("takes")
    default = 5.0 if item.get_closest_marker("slow") or item.get_closest_marker("ray") else 0.0
    return float(takes.args[0]) if takes else default


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while modules are imported and tests are found, and later none among what is there.

    Next to nothing of it is garbage, and there are a million objects to look at.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """What `-n auto` means: `make quick` leaves out what waits."""
    return workers(0) if "not slow" in config.option.markexpr else workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file, or of several files that belong together, in one worker and in their order."""
    if config.getvalue("dist") != "load":  # somebody has asked for another one
        return None
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = together  # type: ignore[method-assign]
    return scheduler


class Failures:
    """Tells of a failure when it happens, in a line: the whole run takes minutes."""

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


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices gain nothing from threads, and lose much where cores are busy."""
    torch = sys.modules.get("torch")  # who does not need it need not wait for it
    before = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    yield
    if torch:
        torch.set_num_threads(before)
