"""A dispatcher as a process, with trainers as its threads.

    python -m tests.ipserver.scheduling.process OWNER [SKEW]

Settings come from the environment. SKEW is the number of seconds by which its clocks are ahead.
"""

import signal
import sys
import threading
import time

SKEW = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
WALL, MONOTONIC = time.time, time.monotonic
# Set before the imports, so that all modules have these clocks.
time.time = lambda: WALL() + SKEW
time.monotonic = lambda: MONOTONIC() + SKEW

from ipserver.environment.settings import load_settings  # noqa: E402
from ipserver.scheduling.dispatcher import Dispatcher  # noqa: E402
from ipserver.store import open_store  # noqa: E402
from ipserver.workers.local_executor import LocalExecutor  # noqa: E402


def main() -> None:
    settings = load_settings()
    executor, stop = LocalExecutor(cpus=1), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open_store(settings.store_dsn) as store:
        Dispatcher(store, executor, settings, sys.argv[1]).run(stop)
    executor.close()


main()
