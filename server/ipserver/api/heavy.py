"""Runs long computations in separate processes, which are ended at a deadline.

Threads would share the interpreter with the event loop and all short calls, and cannot be ended.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from google.protobuf.message import Message
from pebble import ProcessPool

from ipserver.errors import TooExpensive

if TYPE_CHECKING:
    from ipserver.store import Store

P = ParamSpec("P")
M = TypeVar("M", bound=Message)

# Deadline in seconds and largest size in bytes of an answer; by default clients refuse more than 4 MiB.
SECONDS: Final = 20.0
MOST_BYTES: Final = 4_000_000

_log = logging.getLogger(__name__)
_store_here: Store | None = None


class Heavy:
    """A pool of processes for long computations, started by the first call.

    Args:
        store: The store that functions may read. Each process opens it again.
        workers: Number of processes. Further calls wait on the event loop, where cancelling them is free. 0
            uses one thread of this process, whose calls are not ended at their deadline.
        seconds: Deadline of a call.
    """

    def __init__(self, store: Store, workers: int = 2, seconds: float = SECONDS) -> None:
        self._store = store
        self._seconds = seconds
        self._slots = asyncio.Semaphore(max(workers, 1))
        self._thread = None if workers else ThreadPoolExecutor(1, thread_name_prefix="api-heavy")
        self._workers = max(workers, 1)
        self._processes = self._pool()
        self._closed = False

    async def run(self, function: Callable[P, M], *args: P.args, **kwargs: P.kwargs) -> M:
        """Call a module-level function and return its result. Its exceptions are raised here.

        Cancelling the caller ends the computation.

        Raises:
            TooExpensive: The call exceeded its deadline, or the answer is too large.
        """
        return await self._answer(function, args, kwargs)

    async def read(
        self, function: Callable[Concatenate[Store, P], M], *args: P.args, **kwargs: P.kwargs
    ) -> M:
        """As `run`, for a function whose first argument is the store."""
        if self._thread is not None:
            return await self._answer(function, (self._store, *args), kwargs)
        return await self._answer(_with_store, (function, *args), kwargs)

    async def _answer(self, function: Callable[..., M], args: tuple[Any, ...], kwargs: dict[str, Any]) -> M:
        async with self._slots:
            try:
                answer: M = await asyncio.wrap_future(self._scheduled(function, args, kwargs))
            except TimeoutError:
                raise TooExpensive(
                    f"the computation took more than {self._seconds:g} s and was ended; ask for fewer "
                    "layers, steps or runs, or compute it with the library (ipcore.theory) on your machine"
                ) from None
        if (size := answer.ByteSize()) > MOST_BYTES:
            raise TooExpensive(
                f"the answer has {size / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:g} MB are sent; ask for "
                "fewer layers, steps or runs"
            )
        return answer

    def _scheduled(
        self, function: Callable[..., M], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[M]:
        if self._thread is not None:
            return self._thread.submit(function, *args, **kwargs)
        if not self._processes.active and not self._closed:
            # A process that cannot import what it needs (files are being replaced) breaks a pool for good.
            _log.error("the processes for long computations are restarted: their pool was broken")
            self._processes.stop()  # type: ignore[no-untyped-call]  # its stubs lack it
            self._processes = self._pool()
        scheduled: Future[M] = self._processes.schedule(
            function, args=args, kwargs=kwargs, timeout=self._seconds
        )
        return scheduled

    def _pool(self) -> ProcessPool:
        # Spawned, because a process forked while gRPC's threads run may hang.
        return ProcessPool(
            self._workers,
            initializer=_open,
            initargs=(self._store.database.engine.url.render_as_string(hide_password=False),),
            context=multiprocessing.get_context("spawn"),
        )

    def close(self) -> None:
        """End the processes at once."""
        self._closed = True
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._processes.stop()  # type: ignore[no-untyped-call]  # its stubs lack it
        self._processes.join()


def _with_store(function: Callable[..., M], *args: Any, **kwargs: Any) -> M:
    if _store_here is None:
        raise RuntimeError("only processes of Heavy have a store of their own")
    return function(_store_here, *args, **kwargs)


def _open(dsn: str) -> None:
    from ipserver.store import open_store  # noqa: PLC0415 - imported in the process

    global _store_here  # noqa: PLW0603 - set once, before any call
    _store_here = open_store(dsn)
