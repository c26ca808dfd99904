"""Log lines of the API: who called what about which experiment, and no secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from grpc import aio

from iplab.v1 import experiment_service_pb2 as pb
from ipserver.environment.logs import JsonLines
from ipserver.store import Store
from ipserver.store.records.accounts import Role


class Lines:
    """What was logged."""

    def __init__(self) -> None:
        self.text = StringIO()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.getvalue().splitlines()]

    def calls(self) -> list[tuple[str, ...]]:
        """Level, method, code, caller and experiment of every call."""
        return [
            (it["level"], it["method"], it["code"], it.get("principal", ""), it.get("experiment", ""))
            for it in self.all()
            if "method" in it
        ]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """All records from DEBUG on, those of libraries too, as JSON."""
    found, root, ours = Lines(), logging.getLogger(), logging.getLogger("ipserver")
    handler = logging.StreamHandler(found.text)
    handler.setFormatter(JsonLines())
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    ours.setLevel(logging.DEBUG)
    yield found
    root.removeHandler(handler)
    root.setLevel(before[0])
    ours.setLevel(before[1])


async def test_every_call_has_a_line_and_no_secret_is_in_any(
    running: Any, request_of: Any, store: Store, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(auth=True) as api:
        store.accounts.create_project("lab")
        store.accounts.grant("lab", "wendy", Role.WRITER)
        token = store.accounts.create_token("wendy", 3600)
        bearer, named = ("authorization", f"Bearer {token}"), ("x-request-id", "mine-1")
        await api.experiments.CreateExperiment(request_of("e"), metadata=(bearer, named))
        get = pb.GetExperimentRequest(name="experiments/e")
        await api.experiments.GetExperiment(get, metadata=(bearer,))

        wrong = token[:-8] + "nonsense"
        refused = (
            (("authorization", f"Bearer {wrong}"),),
            (("authorization", "Basic d2VuZHk6czNjcmV0"),),
            (("x-token", token), ("x-request-id", "forged line")),
        )
        for metadata in refused:
            with pytest.raises(aio.AioRpcError):
                await api.experiments.GetExperiment(get, metadata=metadata)

        def broken(*_: object) -> None:
            raise RuntimeError(f"{bearer}: cannot reach postgresql://lab:s3cret@db/iplab")

        monkeypatch.setattr(store, "get_experiment", broken)
        await api.fails(api.experiments.GetExperiment(get, metadata=(bearer,)))

    create, read, failed = (
        f"ExperimentService/{name}" for name in ("CreateExperiment", *["GetExperiment"] * 2)
    )
    told = lines.calls()
    assert told[:2] == [("INFO", create, "OK", "wendy", "e"), ("DEBUG", read, "OK", "wendy", "e")]
    assert ("DEBUG", read, "UNAUTHENTICATED", "", "") in told[2:]
    assert told[-1] == ("INFO", failed, "INTERNAL", "wendy", "e")
    ids = [line["request_id"] for line in lines.all() if "method" in line]
    assert ids[0] == "mine-1"
    assert len(set(ids)) == len(ids)
    (incident,) = (line for line in lines.all() if line["message"].startswith("incident"))
    assert incident["request_id"] == ids[-1]
    assert incident["principal"] == "wendy"

    text = lines.text.getvalue()
    assert "cannot reach postgresql://lab:***@db/iplab" in text, "its traceback is there"
    for secret in (token, token.split("_", 2)[2], wrong[-20:], "d2VuZHk6czNjcmV0", "s3cret", "forged"):
        assert secret not in text
