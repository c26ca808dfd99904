"""A fake service for tests of programs that use iplab: in memory, on a loopback port, without torch.

It uses the real protocol, so the real SDK works with it, but **it trains nothing**: runs end at once with
made-up numbers, the same for the same settings. It checks only that a spec is complete. Calls that it does
not support fail with a message that it is a fake. Programs that depend on more should also be tried with
`ipserver up`.

    from iplab.testing import FakeService

    with FakeService() as service, service.connect() as client:
        assert client.create(SPEC).wait().state == "SUCCEEDED"

With pytest, `pytest_plugins = ["iplab.testing.fixtures"]` adds the fixtures `iplab_service` and
`iplab_client`.
"""

from __future__ import annotations

from iplab.testing.service import FakeService

__all__ = ["FakeService"]
