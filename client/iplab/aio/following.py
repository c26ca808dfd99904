"""An experiment's events, followed across interruptions, over an async channel."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from iplab.connection.async_transport import AsyncTransport, pause
from iplab.errors import IplabError
from iplab.results.events import Event
from iplab.results.following import Following


async def watch(
    transport: AsyncTransport, name: str, after: int = 0, timeout: float | None = None
) -> AsyncGenerator[Event, None]:
    """Events of an experiment; arguments and errors as `iplab.results.following.watch`."""
    following, methods = Following(name, after, timeout), transport.experiments
    while True:
        try:
            if following.lost:
                await transport.call(methods.GetExperiment, following.get())
                following.found()
            stream = transport.stream(methods.WatchExperiment, following.request(), following.left())
            async with aclosing(stream) as answers:
                async for answer in answers:
                    for event in following.take(answer):
                        yield event
            if following.ended(await transport.call(methods.GetExperiment, following.get())):
                return
        except IplabError as error:
            following.survive(error)
        await pause(following.delay())
