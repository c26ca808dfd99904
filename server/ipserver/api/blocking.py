"""Runs blocking calls in a bounded pool of threads, so that handlers do not block the event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """A pool of threads for the store and for files.

    Args:
        workers: Number of threads. Further calls wait on the event loop, where cancelling them is free.
    """

    def __init__(self, workers: int = 16) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="api-blocking")
        self._slots = asyncio.Semaphore(workers)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread and return its result. Its exceptions are raised here."""
        async with self._slots:
            loop = asyncio.get_running_loop()
            context = contextvars.copy_context()  # log lines of the thread name the request
            return await loop.run_in_executor(self._pool, lambda: context.run(function, *args, **kwargs))

    async def iterate(self, items: Iterator[T]) -> AsyncIterator[T]:
        """The items of a blocking iterator, each fetched in a thread."""
        end = object()
        while (item := await self.run(next, items, end)) is not end:
            yield item  # type: ignore[misc]  # only `end` is not a T

    def close(self) -> None:
        """End the threads when their current calls have ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
