"""Workers that are Ray actors, as seen by the dispatcher."""

from __future__ import annotations

import collections
import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from ipserver.errors import ClusterLost
from ipserver.store.states import FailureReason
from ipserver.workers.executor import bounded, worker_lost
from ipserver.workers.jobs import PackJob, SliceReport
from ipserver.workers.on_ray.library import ray

_log = logging.getLogger(__name__)

# Ray's message for an actor whose own process is gone.
_PROCESS_DIED = "its worker process has died"
# Ray's message for an actor whose owner is gone. The owner is this process, so other actors would die too,
# and further tries would use up the attempts of every pack.
_OWNER_DIED = "its owner has died"


@dataclass(eq=False, slots=True)
class Actor:
    """An actor's handle (untyped: its methods exist only by name) and the reply to its first call."""

    handle: Any
    where: Any


def end_actor(actor: Actor) -> None:
    """End its process at once."""
    ray.kill(actor.handle, no_restart=True)


class RayWorker:
    """A `Worker` on an actor.

    Args:
        actor: A kept or a new actor.
        job: The job to load first.
        keep: Called when the worker is done, to keep the actor for another pack.
    """

    def __init__(self, actor: Actor, job: PackJob, keep: Callable[[RayWorker], None]) -> None:
        self.actor = actor
        self.job = job
        self.stopped = False
        self._keep = keep
        self._loaded: Any = actor.handle.load.remote(job)
        self._node = ""
        self._started = False
        self.pending: collections.deque[Any] = collections.deque()

    def advance(self, ended: Collection[int], *, checkpoint: bool = False) -> None:
        """See `Worker`."""
        self.pending.append(self.actor.handle.advance.remote(frozenset(ended), checkpoint))

    def alive(self) -> bool:
        """See `Worker`."""
        return bool(self.node())

    def started(self) -> bool:
        """See `Worker`."""
        if not self._started:
            self._started = bool(ray.wait([self._loaded], timeout=0)[0])
        return self._started

    def node(self) -> str:
        """See `Worker`."""
        if not self._node and ray.wait([self.actor.where], timeout=0)[0]:
            try:
                self._node = ray.get(self.actor.where)
            except ray.exceptions.RayError:
                self._node = "lost"  # its next slice reports the failure
        return self._node

    def release(self) -> None:
        """See `Worker`."""
        if self.pending:
            self.stop()  # it still trains: the pack was cancelled
        else:
            self._keep(self)

    def stop(self) -> None:
        """See `Worker`."""
        self.pending.clear()
        self.stopped = True
        end_actor(self.actor)


def result_of(reference: Any) -> SliceReport:
    """The report that a reply holds; WORKER_LOST if the actor died.

    Raises:
        ClusterLost: Ray considers this process dead.
    """
    try:
        report: SliceReport = ray.get(reference)
    except ray.exceptions.OutOfMemoryError as error:
        return SliceReport(failure=bounded(FailureReason.OUT_OF_MEMORY, str(error)))
    except ray.exceptions.RayActorError as error:
        if _OWNER_DIED in str(error):
            raise ClusterLost("Ray considers this process dead: the raylet of its machine is gone") from error
        return worker_lost(death_of(str(error)), str(error))
    except ray.exceptions.RayError as error:
        _log.exception("a slice was lost")
        return worker_lost(f"{type(error).__name__}: {error}")
    return report


def death_of(text: str) -> str:
    """One sentence for a worker whose process died, in place of Ray's page on actors; else Ray's text."""
    if _PROCESS_DIED not in text:
        return text.strip() or "the worker process died"
    pid, host = re.search(r"\bpid: (\d+)", text), re.search(r"\bip: (\S+)", text)
    which = (f" {pid[1]}" if pid else "") + (f" at {host[1]}" if host else "")
    return f"the worker's process{which} was killed, for example for lack of memory, or crashed"
