"""A dispatcher as a process, with trainers as its threads.

It is a fork of a process that has only loaded libraries, which takes seconds. Our modules are loaded in the
fork, after its clocks are set.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

LIBRARIES = ["torch", "sqlalchemy", "psycopg", "alembic.config", "pyarrow", "pydantic_settings"]


class Process:
    """A dispatcher that works until SIGTERM.

    Args:
        owner: Its name.
        skew: Number of seconds by which its clocks are ahead.
        environment: All of its variables; settings come from them.
        log: File for its output.
    """

    def __init__(self, owner: str, skew: float, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        log.touch()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LIBRARIES)
        self._process = context.Process(target=dispatch, args=(owner, skew, dict(environment), str(log)))
        self._process.start()

    def poll(self) -> int | None:
        """The exit status; None while it works."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for its end; return the exit status."""
        self._process.join(seconds)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self.poll() is None:
            assert self._process.pid is not None
            os.kill(self._process.pid, number)


def dispatch(owner: str, skew: float, environment: dict[str, str], log: str) -> None:
    """The work of the process."""
    with open(log, "ab") as output:  # noqa: PTH123 - modules that read clocks are loaded below
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    wall, monotonic = time.time, time.monotonic
    time.time = lambda: wall() + skew
    time.monotonic = lambda: monotonic() + skew
    assert not any(name.startswith("ipserver.") for name in sys.modules), "they have the right clocks"

    from ipserver.environment.settings import load_settings
    from ipserver.scheduling.dispatcher import Dispatcher
    from ipserver.store import open_store
    from ipserver.workers.local_executor import LocalExecutor

    settings = load_settings()
    executor, stop = LocalExecutor(cpus=1), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open_store(settings.store_dsn) as store:
        Dispatcher(store, executor, settings, owner).run(stop)
    executor.close()
