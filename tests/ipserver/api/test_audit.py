"""The audit log as the API writes and shows it."""

import asyncio
import json
import logging
import threading

import grpc
import pytest
from google.protobuf import json_format

from iplab.v1 import audit_service_pb2, audit_service_pb2_grpc
from iplab.v1 import experiment_service_pb2 as pb
from ipserver.api.auditing import AuditLog, peer_host
from ipserver.api.blocking import Blocking
from ipserver.errors import AlreadyExists, PermissionDenied, StoreUnavailable, Unauthenticated
from ipserver.store.records.accounts import EVERY, Role
from ipserver.store.records.audit import AuditedCall
from ipserver.store.transactions import auditing

CALL = AuditedCall("alice", "m", "", "", "10.0.0.7")


def headers(token):
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
async def lab(running):
    """A service that asks for tokens, with a project and its users."""
    async with running(auth=True, trust_seconds=0.2) as api:
        accounts = api.store.accounts
        for project in ("lab", "other"):
            accounts.create_project(project)
        accounts.grant("lab", "reader", Role.READER)
        accounts.grant("lab", "writer", Role.WRITER)
        accounts.grant("lab", "admin", Role.ADMIN)
        accounts.grant("other", "stranger", Role.ADMIN)
        accounts.grant(EVERY, "root", Role.ADMIN)
        users = ("reader", "writer", "admin", "stranger", "root", "revoked")
        api.tokens = {name: accounts.create_token(name, 3600) for name in users}
        accounts.revoke_token(api.tokens["revoked"].split("_")[1])
        api.audit = audit_service_pb2_grpc.AuditServiceStub(api.channel)
        yield api


async def entries(api, user, filter="", **more):
    """What a user sees, without the listing itself."""
    request = audit_service_pb2.ListAuditEntriesRequest(filter=filter, **more)
    listed = await api.audit.ListAuditEntries(request, metadata=headers(api.tokens[user]))
    return [entry for entry in listed.entries if not entry.method.endswith("ListAuditEntries")]


def told(entry):
    return entry.user, entry.method.rpartition("/")[2], entry.resource, entry.project, entry.code


async def test_changes_and_refusals_are_there_with_who_what_and_from_where(lab):
    def as_user(user):
        return headers(lab.tokens[user])

    cancel = pb.CancelExperimentRequest(name="experiments/e")
    get = pb.GetExperimentRequest(name="experiments/e")
    create = lab.request_of("e")
    await lab.experiments.CreateExperiment(create, metadata=as_user("writer"))
    await lab.experiments.GetExperiment(get, metadata=as_user("reader"))  # not written down
    await lab.experiments.CancelExperiment(cancel, metadata=as_user("writer"))
    await lab.fails(lab.experiments.CreateExperiment(create, metadata=as_user("writer")))
    await lab.fails(lab.experiments.CancelExperiment(cancel, metadata=as_user("reader")))
    await lab.fails(lab.experiments.GetExperiment(get, metadata=as_user("stranger")))
    await lab.fails(lab.experiments.GetExperiment(get, metadata=as_user("revoked")))
    await lab.fails(lab.experiments.GetExperiment(get))
    seen = await entries(lab, "root")
    assert [told(entry) for entry in reversed(seen)] == [
        ("writer", "CreateExperiment", "experiments/e", "lab", "OK"),
        ("writer", "CancelExperiment", "experiments/e", "lab", "OK"),
        ("writer", "CreateExperiment", "experiments/e", "lab", "ALREADY_EXISTS"),
        ("reader", "CancelExperiment", "experiments/e", "lab", "PERMISSION_DENIED"),
        ("stranger", "GetExperiment", "experiments/e", "lab", "NOT_FOUND"),
        ("revoked", "GetExperiment", "", "", "UNAUTHENTICATED"),
        ("", "GetExperiment", "", "", "UNAUTHENTICATED"),
    ]
    for entry in seen:
        assert entry.peer == "127.0.0.1"
        assert entry.method.startswith("iplab.v1.ExperimentService/")
        assert entry.HasField("end_time")
        assert entry.calls == 1
    # An admin of one project sees what concerns it, and others see nothing of it.
    assert [told(entry) for entry in await entries(lab, "admin")] == [told(entry) for entry in seen[2:]]
    assert await entries(lab, "stranger") == []
    denied = await lab.fails(
        lab.audit.ListAuditEntries(audit_service_pb2.ListAuditEntriesRequest(), metadata=as_user("writer"))
    )
    assert denied.code is grpc.StatusCode.PERMISSION_DENIED
    (again,) = await entries(lab, "root", "user = writer AND NOT code = OK")
    assert told(again) == told(seen[4])


async def test_pages_go_on_from_their_tokens(lab):
    for _ in range(3):
        await lab.fails(lab.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e")))
    root, found, token = headers(lab.tokens["root"]), [], ""
    while True:
        request = audit_service_pb2.ListAuditEntriesRequest(
            page_size=2, page_token=token, filter="code = UNAUTHENTICATED"
        )
        page = await lab.audit.ListAuditEntries(request, metadata=root)
        found += page.entries
        if not (token := page.next_page_token):
            break
    assert len(found) == 3
    assert [entry.time.ToNanoseconds() for entry in found] == sorted(
        (entry.time.ToNanoseconds() for entry in found), reverse=True
    )


async def test_no_secret_of_a_request_is_kept(lab, caplog):
    secret = "hunter2-correct-horse"
    request = lab.request_of(
        "e", experiment={"display_name": secret, "notes": secret, "labels": {"password": secret}}
    )
    forged = lab.tokens["writer"][:-43] + "A" * 43
    with caplog.at_level(logging.DEBUG):
        await lab.experiments.CreateExperiment(request, metadata=headers(lab.tokens["writer"]))
        await lab.fails(lab.experiments.CreateExperiment(request, metadata=headers(forged)))
        await lab.fails(lab.experiments.CreateExperiment(request, metadata=headers(lab.tokens["reader"])))
        seen = await entries(lab, "root")
    assert len(seen) == 3
    kept = json.dumps([json_format.MessageToDict(entry) for entry in seen]) + caplog.text
    for hidden in (
        secret,
        forged.split("_", 2)[2],
        *(token.split("_", 2)[2] for token in lab.tokens.values()),
    ):
        assert hidden not in kept


async def test_without_auth_calls_have_no_user_and_everyone_is_admin(api):
    await api.create("e")
    preview = api.request_of("f", validate_only=True)
    await api.experiments.CreateExperiment(preview)  # changes nothing
    stub = audit_service_pb2_grpc.AuditServiceStub(api.channel)
    made = (await stub.ListAuditEntries(audit_service_pb2.ListAuditEntriesRequest())).entries
    assert [told(entry) for entry in made] == [("", "CreateExperiment", "experiments/e", "default", "OK")]


async def test_the_name_of_what_was_made_is_known_afterwards(api):
    made = await api.create("")
    assert api.store.audit_entries(limit=1)[0].resource == made.name


async def test_a_call_that_cannot_be_written_down_is_not_made(api, monkeypatch):
    await api.create("e")
    monkeypatch.setattr(auditing, "done", unavailable)
    failed = await api.fails(
        api.experiments.CancelExperiment(pb.CancelExperimentRequest(name="experiments/e"))
    )
    assert failed.code is grpc.StatusCode.UNAVAILABLE
    assert not api.store.get_experiment("e").state.terminal
    # It has failed, which can be written down.
    assert [one.code for one in api.store.audit_entries(limit=9)] == ["UNAVAILABLE", "OK"]


async def test_calls_that_come_too_fast_are_counted_by_user(running):
    async with running(auth=True) as api:
        accounts = api.store.accounts
        accounts.create_project("lab")
        accounts.grant("lab", "writer", Role.WRITER)
        accounts.set_quota("lab", "writer", "requests_per_second", 1e-6)
        writer = headers(accounts.create_token("writer", 3600))
        await api.experiments.CreateExperiment(api.request_of("e"), metadata=writer)
        for _ in range(100):
            get = pb.GetExperimentRequest(name="experiments/e")
            failed = await api.fails(api.experiments.GetExperiment(get, metadata=writer))
            assert failed.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    seen = api.store.audit_entries(limit=200)
    assert [one.code for one in seen].count("OK") == 1
    refused = [one for one in seen if one.code == "RESOURCE_EXHAUSTED"]
    assert {one.user for one in refused} == {"writer"}
    assert sum(one.calls for one in refused) == 100
    single = next(one for one in refused if one.method)
    assert (single.method.rpartition("/")[2], single.project) == ("GetExperiment", "lab")
    assert any(one.calls > 1 for one in refused)


def unavailable(*_):
    raise StoreUnavailable("gone")


async def test_a_caller_that_goes_away_leaves_a_result(store):
    log = AuditLog(store, Blocking(2), 1e6)
    inside = asyncio.Event()

    async def work():
        async with log.following(CALL):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(work())
    await inside.wait()
    task.cancel()
    await asyncio.wait({task})
    assert [entry.code for entry in store.audit_entries(limit=9)] == ["CANCELLED"]


async def test_what_a_caller_that_goes_away_has_changed_is_told(store):
    blocking, inside, on = Blocking(2), threading.Event(), threading.Event()
    log = AuditLog(store, blocking, 1e6)

    def work(transaction):
        inside.set()
        on.wait()

    async def call():
        async with log.following(CALL):
            await blocking.run(store.database.write, work)

    task = asyncio.ensure_future(call())
    await asyncio.to_thread(inside.wait)
    task.cancel()
    await asyncio.sleep(0)
    on.set()
    await asyncio.wait({task})
    assert [entry.code for entry in store.audit_entries(limit=9)] == ["OK"]


async def test_a_flood_of_refusals_is_counted_not_written(store):
    now = 0.0
    log = AuditLog(store, Blocking(2), 1e6, monotonic=lambda: now)
    for _ in range(1000):
        await log.refused(CALL, Unauthenticated("no"))
    assert len(store.audit_entries(limit=1000)) == 60
    # Another kind of refusal is not drowned.
    await log.refused(CALL, PermissionDenied("no"))
    assert [entry.code for entry in store.audit_entries(limit=2)] == ["PERMISSION_DENIED", "UNAUTHENTICATED"]
    now = 1.0
    for _ in range(3):
        await log.refused(CALL, Unauthenticated("no"))
    await log.close()
    newest = store.audit_entries(limit=1000)
    assert [(entry.code, entry.calls) for entry in newest[:4]] == [
        ("UNAUTHENTICATED", 2),
        ("UNAUTHENTICATED", 1),
        ("PERMISSION_DENIED", 1),
        ("UNAUTHENTICATED", 940),
    ]
    assert sum(entry.calls for entry in newest) == 1004


async def test_counts_are_written_without_another_call(store):
    log = AuditLog(store, Blocking(2), 1e6, counts_seconds=1e-3)
    for _ in range(62):
        await log.refused(CALL, Unauthenticated("no"))
    while sum(entry.calls for entry in store.audit_entries(limit=100)) < 62:
        await asyncio.sleep(0.01)
    await log.close()


async def test_refusals_that_the_store_did_not_take_are_counted(store, monkeypatch, caplog):
    log = AuditLog(store, Blocking(2), 1e6)
    with monkeypatch.context() as patch:
        patch.setattr(store, "note_refused_call", unavailable)
        await log.refused(CALL, Unauthenticated("no"))
        await log.close()
    assert "is only counted in the audit log: gone" in caplog.text
    assert "1 calls are not in the audit log yet: gone" in caplog.text
    await log.refused(CALL, Unauthenticated("no"))
    assert [entry.calls for entry in store.audit_entries(limit=9)] == [1, 1]


async def test_failures_that_the_store_did_not_take_are_counted(store, monkeypatch, caplog):
    log = AuditLog(store, Blocking(2), 1e6)
    with monkeypatch.context() as patch, pytest.raises(AlreadyExists):
        patch.setattr(auditing, "add", unavailable)
        async with log.following(CALL):
            raise AlreadyExists("there is one")
    assert "a call to m (ALREADY_EXISTS) is only counted in the audit log: gone" in caplog.text
    await log.close()
    (counted,) = store.audit_entries(limit=9)
    assert (counted.user, counted.code, counted.calls) == ("alice", "ALREADY_EXISTS", 1)


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:51112", "10.0.0.7"),
        ("ipv6:%5B::1%5D:51112", "::1"),
        ("ipv6:[fe80::1%25eth0]:9", "fe80::1%eth0"),
        ("unix:", "unix"),
        ("unix:/run/iplab.sock", "unix"),
        ("", ""),
    ],
)
def test_peers(peer, host):
    assert peer_host(peer) == host
