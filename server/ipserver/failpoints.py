"""Failpoints: points where a test can kill or stop a process, or simulate a full disk. Otherwise inactive.

The environment variable IPLAB_FAILPOINTS names a folder. A file in it that is named like a point
("commit.during") holds one line that says what happens to a process that passes this point:

    kill [N]    the process kills itself, as by kill -9, when it passes for the N-th time (1: the first)
    wait [N]    the process waits until the test removes the file (by then "commit.during.reached")
    full [N]    from the N-th time on, while the file exists, the process gets ENOSPC

The file "commit.during.reached" shows that the action was triggered. `kill` and `wait` happen once: the first
process to arrive renames the file to this name, so a restarted process passes. Tests may add files at any
time. Without the variable, passing a point costs one comparison.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

# Each name stands for three points: NAME.before, NAME.during, NAME.after. In a transaction, "during" is just
# before COMMIT. In the writing of a file, "during" is when the file is complete but not yet renamed.
POINTS: Final = {
    "create": "the API accepts an experiment (a transaction)",
    "extend": "the API adds runs to an experiment (a transaction)",
    "retry": "the API queues failed runs again (a transaction)",
    "update": "the API changes the name, labels, notes or priority of an experiment (a transaction)",
    "delete": "the API deletes, undeletes or begins a purge (a transaction)",
    "purge": "a dispatcher removes rows of purged experiments or studies (a transaction)",
    "audit": "the API records a call: in the transaction of its changes, or in a separate one",
    "study": "the API accepts a study (a transaction)",
    "round": "a dispatcher records a round of a study (a transaction)",
    "asked": "a dispatcher has taken all actions of a round (a transaction)",
    "verdict": "a dispatcher ends a study (a transaction)",
    "plan": "a dispatcher saves an experiment's packs (a transaction)",
    "lease": "a dispatcher leases a pack (a transaction)",
    "commit": "a dispatcher commits a slice (a transaction)",
    "end": "a dispatcher ends an attempt or gives it back (a transaction)",
    "checkpoint": "a trainer writes a checkpoint (a file)",
    "weights": "a trainer writes a weight file (a file)",
    "send": "the forwarder sends a run's new data; during: MLflow has the points, but no files and no status",
    "mark": "the forwarder marks sent data, and records the runs' ids in MLflow (a transaction)",
}
_VARIABLE: Final = "IPLAB_FAILPOINTS"
_POLL_SECONDS: Final = 0.01
# Limits `wait`, so that a test that dies does not leave a waiting process behind.
_LONGEST_WAIT_SECONDS: Final = 120.0

_folder = Path(os.environ[_VARIABLE]) if os.environ.get(_VARIABLE) else None
_passed: Counter[str] = Counter()


def hit(point: str) -> None:
    """Pass a point ("commit.before").

    Raises:
        OSError: ENOSPC, if a test wants the disk to be full here.
    """
    if _folder is not None:
        _act(_folder / point)


@contextmanager
def around(name: str) -> Iterator[None]:
    """Pass NAME.before and, unless an error ends the block, NAME.after."""
    hit(f"{name}.before")
    yield
    hit(f"{name}.after")


def then(work: Callable[..., Result], point: str) -> Callable[..., Result]:
    """A function that calls `work` and then passes the point."""

    @functools.wraps(work)
    def worked(*args: Any, **kwargs: Any) -> Result:
        result = work(*args, **kwargs)
        hit(point)
        return result

    return worked


def _act(file: Path) -> None:
    try:
        action, _, number = file.read_text().strip().partition(" ")
    except FileNotFoundError:
        _passed.pop(file.name, None)  # a file of this name that appears later counts from 0
        return
    _passed[file.name] += 1
    if _passed[file.name] < int(number or 1):
        return
    reached = file.with_name(f"{file.name}.reached")
    if action == "full":
        reached.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    try:
        file.rename(reached)
    except FileNotFoundError:
        return  # another process arrived first
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action != "wait":
        raise ValueError(f"{file} says {action!r}, not kill, wait or full")
    end = time.monotonic() + _LONGEST_WAIT_SECONDS
    while reached.exists() and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
