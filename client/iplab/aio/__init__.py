"""The async client: the main job of the SDK for programs that have an event loop.

    from iplab import aio

    async with aio.connect() as client:
        experiment = await client.create("examples/quickstart.yaml")
        async for event in experiment.watch():
            print(event)
        print((await experiment.refresh()).state)

It has create, get, list, runs, metrics, summaries, watch, wait, cancel and delete, with the same arguments,
values, errors, retries and profiles as `iplab`. The rest (studies, reports, weights, extend, update)
has the sync client alone: call it by `asyncio.to_thread`.
"""

from __future__ import annotations

from iplab.aio.client import AsyncClient, connect
from iplab.aio.experiment import AsyncExperiment
from iplab.aio.run import AsyncRun

__all__ = ["AsyncClient", "AsyncExperiment", "AsyncRun", "connect"]
