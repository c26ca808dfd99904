"""Places where a test can have a process die, stand still, or meet a full disk. Inert otherwise.

The environment variable IPLAB_FAILPOINTS names a folder. A file in it that is named like a point
("commit.during") says in a line what happens to a process that passes there:

    kill [N]    it kills itself, as by kill -9, when it passes for the N-th time (1: the first)
    wait [N]    it stands still until the test removes the file (by then it is "commit.during.reached")
    full [N]    from the N-th time on, while the file is there, it is told that the disk is full

"commit.during.reached" says that it has happened. `kill` and `wait` happen once: whichever process comes
first renames the file so, and a process that is started again goes on. Tests may move files in at any time.
Without the variable, to pass a point costs a comparison.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

# Each is three points: NAME.before, NAME.during, NAME.after. "During" a transaction is just before COMMIT;
# during the writing of a file it is whole, but has not got its name.
POINTS: Final = {
    "create": "the API accepts an experiment (a transaction)",
    "plan": "a dispatcher saves an experiment's packs (a transaction)",
    "lease": "a dispatcher leases a pack (a transaction)",
    "commit": "a dispatcher commits a slice (a transaction)",
    "end": "a dispatcher ends an attempt or gives it back (a transaction)",
    "checkpoint": "a trainer writes a checkpoint (a file)",
    "weights": "a trainer writes a weight file (a file)",
    "send": "the forwarder sends a run's news; during: MLflow has the points, but no files and no status",
    "mark": "the forwarder marks what MLflow has, and notes the runs' ids there (a transaction)",
}
_VARIABLE: Final = "IPLAB_FAILPOINTS"
_POLL_SECONDS: Final = 0.01
# A test that dies must not leave a process that stands still for ever.
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
    """`work`, which passes a point at its end."""

    def worked(*args: Any, **kwargs: Any) -> Result:
        result = work(*args, **kwargs)
        hit(point)
        return result

    return worked


def _act(file: Path) -> None:
    try:
        action, _, number = file.read_text().strip().partition(" ")
    except FileNotFoundError:
        _passed.pop(file.name, None)  # the next time it is there, it is another one
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
        return  # another process was first
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action != "wait":
        raise ValueError(f"{file} says {action!r}, not kill, wait or full")
    end = time.monotonic() + _LONGEST_WAIT_SECONDS
    while reached.exists() and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
