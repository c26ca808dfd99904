"""Programs as processes that have torch: `python -m MODULE WORDS` without the seconds in which torch loads.

They are forked from a process that has imported torch and the trainer, and has not touched a device.
"""

from __future__ import annotations

import gc
import multiprocessing
import runpy
import sys
from collections.abc import Sequence

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["torch", "ipcore.training.trainer"])


def run(module: str, words: Sequence[str], timeout: float) -> int | None:
    """Run a program; its exit status, or None if it has not ended in time and was killed."""
    process = _FORKS.Process(target=_main, args=(module, words))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def _main(module: str, words: Sequence[str]) -> None:
    # Programs collect garbage after every pack; torch's million objects need no look.
    gc.freeze()
    sys.argv[1:] = words
    runpy.run_module(module, run_name="__main__", alter_sys=True)
