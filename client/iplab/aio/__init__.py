"""The async client: the main job of the SDK for programs that have an event loop.

    from iplab import aio

    async with aio.connect() as client:
        experiment = await client.create("examples/quickstart.yaml")
        async for event in experiment.watch():
            print(event)
        print((await experiment.refresh()).state)

Experiments, runs, weights and studies have the same methods, arguments, values, errors, retries and profiles
as in `iplab`. Only the sync client has reports, tables for notebooks, figures, progress, quotas and the audit
log: call it by `asyncio.to_thread`.
"""

from __future__ import annotations

from iplab.aio.client import AsyncClient, connect
from iplab.aio.experiment import AsyncExperiment
from iplab.aio.run import AsyncRun
from iplab.aio.study import AsyncStudy

__all__ = ["AsyncClient", "AsyncExperiment", "AsyncRun", "AsyncStudy", "connect"]
