"""Failures of workers: classification of errors, and the last log lines."""

from __future__ import annotations

import collections
import logging
import traceback

import torch

from ipcore.errors import DataError
from ipserver.errors import ArtifactsUnavailable
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from ipserver.workers.executor import bounded

_LOG_LINES = 50


def failure(error: Exception, log_tail: str = "") -> Failure:
    """The failure to report for an error in a worker."""
    if isinstance(error, DataError):
        reason = FailureReason.DATA_UNAVAILABLE
    elif _device_lost(error):
        reason = FailureReason.WORKER_LOST
    elif _out_of_memory(error):
        reason = FailureReason.OUT_OF_MEMORY
    elif isinstance(error, ArtifactsUnavailable):
        reason = FailureReason.ARTIFACTS_UNAVAILABLE
    else:
        reason = FailureReason.TRAINING_ERROR
    text = "".join(traceback.format_exception(error))
    return bounded(reason, f"{type(error).__name__}: {error}", text, log_tail)


def _device_lost(error: Exception) -> bool:
    """Whether a GPU is lost or broken. Another process may find it working, or use another GPU."""
    text = str(error) if isinstance(error, RuntimeError) else ""
    return "CUDA error" in text or "No CUDA GPUs are available" in text


def _out_of_memory(error: Exception) -> bool:
    # On the CPU torch raises a bare RuntimeError; so does Python if it cannot allocate a thread's stack.
    text = str(error) if isinstance(error, RuntimeError) else ""
    known = ("can't allocate memory", "can't start new thread")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(part in text for part in known)


class LogTail(logging.Handler):
    """Keep the last lines that are logged inside the context, for failure reports."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's line."""
        self._lines.append(self.format(record))

    def text(self) -> str:
        """The lines kept, oldest first."""
        return "\n".join(self._lines)

    def __enter__(self) -> LogTail:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
