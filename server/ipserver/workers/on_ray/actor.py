"""The actor: trains one pack after another in a process of its own."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Collection
from types import ModuleType
from typing import TYPE_CHECKING

from ipcore.planning.machine import MachineProfile
from ipserver.environment.loading import loading
from ipserver.environment.surroundings import forget_other_torches
from ipserver.request.resources import ResourceRequest
from ipserver.store.records.runs import Failure
from ipserver.store.states import FailureReason
from ipserver.workers.executor import bounded
from ipserver.workers.jobs import PackJob, SliceReport
from ipserver.workers.on_ray.library import ray

if TYPE_CHECKING:
    from ipserver.workers.trainer import PackTrainer


_log = logging.getLogger(__name__)

_ORPHAN_SECONDS = 0.5


class Trainer:
    """The actor: a PackTrainer, imported in the worker so that the dispatcher never loads torch."""

    def __init__(self) -> None:
        logging.getLogger().setLevel(logging.INFO)
        self._trainer: PackTrainer | None = None
        self._refused: SliceReport | None = None
        self._unloadable: Exception | None = None
        threading.Thread(target=_end_with, args=(os.getppid(),), name="orphan", daemon=True).start()

    def warm(self) -> None:
        """Import what training needs."""
        self._library().warm()

    def profile(self, asked: ResourceRequest) -> MachineProfile:
        """Measure the speed of a worker of this size."""
        measured: MachineProfile = self._library().measure(asked)
        return measured

    def where(self) -> str:
        """Id of the actor's node."""
        return str(ray.get_runtime_context().get_node_id())

    def load(self, job: PackJob) -> None:
        """Load a pack.

        An error is kept and reported with the first slice, where the dispatcher expects failures.
        """
        self._trainer = None  # free the last pack's memory before the next is allocated
        self._refused = None
        try:
            self._trainer = self._library().PackTrainer(job)
        except Exception as error:
            _log.exception("pack %s cannot be trained here", job.pack)
            self._refused = SliceReport(failure=_refusal(error))

    def advance(self, ended: Collection[int], checkpoint: bool) -> SliceReport:
        """Train a slice, or report why the pack could not be loaded."""
        if self._refused is not None:
            return self._refused
        if self._trainer is None:
            raise RuntimeError("a slice was requested before a pack was loaded")
        return self._trainer.advance(ended, checkpoint=checkpoint)

    def _library(self) -> ModuleType:
        """The module that trains.

        If it cannot be imported, that error is raised again: a second import of a half-loaded torch fails for
        another reason.
        """
        if self._unloadable is not None:
            raise self._unloadable
        forget_other_torches(os.environ)  # on a cluster that was joined: of whoever started the node
        try:
            with loading():
                return importlib.import_module("ipserver.workers.trainer")
        except Exception as error:
            self._unloadable = error
            raise


def _refusal(error: Exception) -> Failure:
    """Failure of a worker that could not load its pack, for example because torch cannot be imported."""
    try:
        from ipserver.workers.failures import failure  # noqa: PLC0415 - never in the dispatcher
    except Exception:
        # The import failed. It would fail in every worker of this installation.
        text = "".join(traceback.format_exception(error))
        return bounded(FailureReason.TRAINING_ERROR, f"{type(error).__name__}: {error}", text)
    return failure(error)


def _end_with(raylet: int) -> None:
    """End this process when the raylet that started it is gone.

    Otherwise it would keep its memory and cores for a minute, beside the worker that replaces it.
    """
    while os.getppid() == raylet:
        time.sleep(_ORPHAN_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
