"""An async client that test bodies use as they use the sync one: every call is run on its event loop."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator

from iplab import aio


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, coroutine):
        """What a coroutine returns or raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def close(self):
        self.run(self.loop.shutdown_asyncgens())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Blocking:
    """A handle of `iplab.aio`, whose methods return when they are done."""

    def __init__(self, loop, handle):
        self._loop, self._handle = loop, handle

    def __getattr__(self, name):
        value = getattr(self._handle, name)
        return self._called(value) if inspect.ismethod(value) else value

    def __repr__(self):
        return repr(self._handle)

    def _called(self, method):
        def call(*arguments, **named):
            result = method(*arguments, **named)
            if inspect.iscoroutine(result):
                return self._wrapped(self._loop.run(result))
            return self._iterated(result) if isinstance(result, AsyncIterator) else result

        return call

    def _iterated(self, items):
        while True:
            try:
                item = self._loop.run(anext(items))
            except StopAsyncIteration:
                return
            yield self._wrapped(item)

    def _wrapped(self, value):
        if value is self._handle:
            return self
        handles = aio.AsyncClient, aio.AsyncExperiment, aio.AsyncRun, aio.AsyncStudy
        return Blocking(self._loop, value) if isinstance(value, handles) else value
