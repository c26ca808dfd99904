"""An address at which nothing listens, and replacements of parts."""

import socket
import subprocess
import sys

import pytest

from ipserver.ops import processes


@pytest.fixture
def nowhere():
    """An address of this machine where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


# A part that records when it was told to stop, waits until the others were told too, and stops slowly.
_PART = """
import signal, sys, time
from pathlib import Path
folder = Path({folder!r})
def stop(*_):
    print("told", time.monotonic(), flush=True)
    (folder / {name!r}).touch()
    while not all((folder / other).exists() for other in {after!r}):
        time.sleep(0.01)
    time.sleep({seconds})
    print("done", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def start(tmp_path):
    """Starts a replacement of a part that takes some seconds to stop, after others were told to."""
    started = []

    def start(name, seconds, after=()):
        program = _PART.format(folder=str(tmp_path), name=name, seconds=seconds, after=after)
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == b"ready\n"
        return processes.Part(name, process)

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()
