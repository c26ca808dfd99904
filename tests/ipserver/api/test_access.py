"""Who may call what: the matrix of users, roles and methods, from the descriptors."""

import asyncio
import json
from functools import reduce

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from iplab.v1 import experiment_service_pb2 as pb
from iplab.v1 import study_service_pb2, study_service_pb2_grpc
from ipserver.api import access
from ipserver.api.gate import MOST_BYTES
from ipserver.api.server import SERVICES
from ipserver.store import open_store
from ipserver.store.records.accounts import Role
from tests.ipserver.api.fuzzing import methods
from tests.ipserver.studies.cases import study_request
from tests.ipserver.support import migrated

DENIED = grpc.StatusCode.PERMISSION_DENIED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
RULES = access.rules(name for name in SERVICES if name.startswith("iplab."))
USERS = ("reader", "writer", "admin", "stranger", "nobody", "revoked", "anonymous")


def headers(token):
    return (("authorization", f"Bearer {token}"),) if token else ()


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """The file of a store that knows the users, and their tokens."""
    file = tmp_path_factory.mktemp("people") / "iplab.db"
    with open_store(migrated(f"sqlite:///{file}")) as store:
        accounts = store.accounts
        for project in ("lab", "other"):
            accounts.create_project(project)
        for name in ("reader", "writer", "admin"):
            accounts.grant("lab", name, Role[name.upper()])
        accounts.grant("lab", "revoked", Role.ADMIN)
        accounts.grant("other", "stranger", Role.ADMIN)
        tokens = {name: accounts.create_token(name, 3600) for name in USERS if name != "anonymous"}
        accounts.revoke_token(tokens["revoked"].split("_")[1])
    return file.read_bytes(), tokens | {"anonymous": ""}


@pytest.fixture
def store(people, tmp_path):
    """A copy of that store for each test."""
    file = tmp_path / "iplab.db"
    file.write_bytes(people[0])
    with open_store(f"sqlite:///{file}") as store:
        yield store


@pytest.fixture
async def lab(running, people):
    """A service that asks for tokens, with an experiment and a study of the project "lab"."""
    async with running(auth=True, trust_seconds=0.2) as api:
        api.tokens = people[1]
        writer = headers(api.tokens["writer"])
        made = await api.experiments.CreateExperiment(api_request("e"), metadata=writer)
        assert (made.project, made.owner) == ("lab", "writer")
        api.studies = study_service_pb2_grpc.StudyServiceStub(api.channel)
        study = await api.studies.CreateStudy(study_request(study_id="s"), metadata=writer)
        assert (study.project, study.owner) == ("lab", "writer")
        yield api


def api_request(name, **changes):
    from tests.ipserver.api.conftest import create_request

    return create_request(name, **changes)


def valid_request(method, rule):
    """A request that concerns the project "lab", where the method has a field for it."""
    service, name = method.path.strip("/").split("/")
    descriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name].input_type
    request = message_factory.GetMessageClass(descriptor)()
    if rule.project:
        holder, last = rule.project.split(".")
        setattr(getattr(request, holder), last, "lab")
    elif rule.resource:
        kind = "studies/s" if "Study" in service else "experiments/e"
        run = (
            "/runs/r00000"
            if name in {"GetRun", "CancelRun", "RetryRun", "ListArtifacts", "ReadArtifact"}
            else ""
        )
        path = "/artifacts/weights" if name == "ReadArtifact" else ""
        *above, last = rule.resource.split(".")
        setattr(reduce(getattr, above, request), last, f"{kind}{run}{path}")
    return request


async def answer(api, method, request, token):
    """The status of a call, of a stream after its first answer."""
    data = request.SerializeToString()
    try:
        if method.streams:
            call = api.channel.unary_stream(method.path)(data, metadata=headers(token), timeout=30)
            await call.read()
            call.cancel()
        else:
            await api.channel.unary_unary(method.path)(data, metadata=headers(token), timeout=30)
    except aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.path.rpartition("/")[2])
async def test_every_method_asks_for_its_role(lab, method):
    rule = RULES[method.path]
    request = valid_request(method, rule)
    codes = {user: await answer(lab, method, request, lab.tokens[user]) for user in USERS}
    for user, role in (("reader", Role.READER), ("writer", Role.WRITER), ("admin", Role.ADMIN)):
        if role < rule.role:
            assert codes[user] is DENIED, user
        else:
            # The request may still be incomplete, or ask for a file that is not there.
            assert codes[user] in {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, NOT_FOUND}, user
            name = method.path.rpartition("/")[2]
            if name.startswith(("Get", "Cancel", "Pause", "Resume", "Watch", "List")):
                assert codes[user] is grpc.StatusCode.OK, user
    if rule.project or rule.resource:
        assert codes["stranger"] is NOT_FOUND
        assert codes["nobody"] is NOT_FOUND
    else:
        assert codes["stranger"] is codes["admin"]
        assert codes["nobody"] is DENIED
    assert codes["revoked"] is UNAUTHENTICATED
    assert codes["anonymous"] is UNAUTHENTICATED


def test_a_method_without_a_role_is_refused():
    with pytest.raises(ValueError, match="Check does not say who may call it"):
        access.rules(["grpc.health.v1.Health"])


async def test_foreign_and_absent_resources_answer_the_same(lab):
    def of(name):
        call = lab.experiments.GetExperiment(
            pb.GetExperimentRequest(name=f"experiments/{name}"), metadata=headers(lab.tokens["stranger"])
        )
        return lab.fails(call)

    foreign, absent = await of("e"), await of("f")
    assert (foreign.code, foreign.message.replace("'e'", "'f'")) == (absent.code, absent.message)
    assert absent.code is NOT_FOUND


async def test_guesses_count_as_requests(running):
    """Otherwise a token of any project could look for names as fast as it likes."""
    async with running(auth=True) as api:
        api.store.accounts.grant("default", "eve", Role.READER)
        api.store.accounts.set_quota("default", "eve", "requests_per_second", 1e-6)
        eve, codes = headers(api.store.accounts.create_token("eve", 3600)), []
        for name in ("experiments/e", "experiments/f", "experiments/../e"):
            call = api.experiments.GetExperiment(pb.GetExperimentRequest(name=name), metadata=eve)
            codes.append((await api.fails(call)).code)
    assert codes == [NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.RESOURCE_EXHAUSTED]


@pytest.fixture
async def slow(running):
    """A service on which eve may send one request, and the headers of eve and bob, of the same project."""
    async with running(auth=True) as api:
        accounts = api.store.accounts
        for user in ("eve", "bob"):
            accounts.grant("default", user, Role.READER)
        accounts.set_quota("default", "eve", "requests_per_second", 1e-6)
        api.eve, api.bob = (headers(accounts.create_token(user, 3600)) for user in ("eve", "bob"))
        yield api


BAD_REQUESTS = {
    "malformed": b"\xff",
    "too long": b"\x0a" * (MOST_BYTES + 1),
    "unknown field": b"\xf8\x3e\x07",
    "NUL": pb.GetExperimentRequest(name="\0").SerializeToString(),
}


@pytest.mark.parametrize("data", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
async def test_requests_that_the_gate_refuses_count_as_requests(slow, data):
    get = slow.channel.unary_unary("/iplab.v1.ExperimentService/GetExperiment")
    query = slow.channel.unary_stream("/iplab.v1.RunService/QueryMetrics")
    codes = [(await slow.fails(method(data, metadata=slow.eve))).code for method in (get, get, query)]
    assert codes == [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ]
    assert (await slow.fails(get(data, metadata=slow.bob))).code is grpc.StatusCode.INVALID_ARGUMENT


async def test_messages_of_reflection_count_as_requests(slow):
    stub = reflection_pb2_grpc.ServerReflectionStub(slow.channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = stub.ServerReflectionInfo(iter([asked, asked]), metadata=slow.eve)
    assert (await answers.read()).list_services_response.service
    assert (await slow.fails(answers.read())).code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_changes_of_anothers_experiment_are_held_against_the_limits_of_the_caller(lab):
    accounts = lab.store.accounts
    accounts.set_quota("lab", "admin", "priority", 2)
    admin, writer = headers(lab.tokens["admin"]), headers(lab.tokens["writer"])
    urgent = json_format.ParseDict(
        {"experiment": {"name": "experiments/e", "priority": 3}, "updateMask": "priority"},
        pb.UpdateExperimentRequest(),
    )
    failed = await lab.fails(lab.experiments.UpdateExperiment(urgent, metadata=admin))
    assert "user 'admin' in project 'lab' may ask for a priority of at most 2, not 3" in failed.message
    assert (await lab.experiments.UpdateExperiment(urgent, metadata=writer)).priority == 3
    accounts.set_quota("lab", "*", "queued_runs", 1000)
    more = pb.ExtendExperimentRequest(name="experiments/e", seeds=[9])
    failed = await lab.fails(lab.experiments.ExtendExperiment(more, metadata=admin))
    assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert "count for its owner 'writer'" in failed.message
    await lab.experiments.ExtendExperiment(more, metadata=writer)


async def test_listings_hints_and_request_ids_show_nothing_foreign(lab):
    stranger = headers(lab.tokens["stranger"])
    listed = await lab.experiments.ListExperiments(pb.ListExperimentsRequest(), metadata=stranger)
    assert not listed.experiments
    wanted = pb.ListExperimentsRequest(filter="experiment = ee")
    assert "'e'" not in (await lab.experiments.ListExperiments(wanted, metadata=stranger)).unmatched
    asked = study_service_pb2.ListStudiesRequest()
    assert not (await lab.studies.ListStudies(asked, metadata=stranger)).studies
    reader = headers(lab.tokens["reader"])
    seen = await lab.experiments.ListExperiments(pb.ListExperimentsRequest(), metadata=reader)
    assert [one.name for one in seen.experiments] == ["experiments/e"]
    assert len((await lab.studies.ListStudies(asked, metadata=reader)).studies) == 1
    once = api_request("secret", request_id="6d4f1a52-5f0c-4c39-9d0f-1a52c9e0b7d1")
    await lab.experiments.CreateExperiment(once, metadata=headers(lab.tokens["writer"]))
    again = api_request("mine", request_id="6d4f1a52-5f0c-4c39-9d0f-1a52c9e0b7d1")
    for request in (once, again):
        failed = await lab.fails(lab.experiments.CreateExperiment(request, metadata=stranger))
        assert failed.reason == "REQUEST_ID_REUSED"
        assert "secret" not in failed.message


async def test_the_project_is_the_only_one_of_the_caller_and_must_be_theirs(lab):
    stranger = headers(lab.tokens["stranger"])
    made = await lab.experiments.CreateExperiment(api_request("mine"), metadata=stranger)
    assert (made.project, made.owner) == ("other", "stranger")
    foreign = api_request("theirs", experiment={"project": "lab"})
    failed = await lab.fails(lab.experiments.CreateExperiment(foreign, metadata=stranger))
    assert (failed.code, failed.message) == (
        NOT_FOUND,
        "there is no project 'lab' of yours; yours are: other",
    )
    absent = api_request("theirs", experiment={"project": "nowhere"})
    again = await lab.fails(lab.experiments.CreateExperiment(absent, metadata=stranger))
    assert again.message == failed.message.replace("lab", "nowhere")


async def test_health_is_open_and_reflection_is_not(lab):
    health = health_pb2_grpc.HealthStub(lab.channel)
    assert (
        await health.Check(health_pb2.HealthCheckRequest())
    ).status == health_pb2.HealthCheckResponse.SERVING
    stub = reflection_pb2_grpc.ServerReflectionStub(lab.channel)

    requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    answer = await stub.ServerReflectionInfo(requests, metadata=headers(lab.tokens["reader"])).read()
    assert answer.list_services_response.service
    for user in ("anonymous", "revoked"):
        # Nothing is sent: a request that arrives after the refusal fails in the client, with another code.
        refused = stub.ServerReflectionInfo(metadata=headers(lab.tokens[user]))
        assert await refused.code() is UNAUTHENTICATED


@pytest.mark.parametrize("how", ["token", "role"])
async def test_an_open_watch_ends_when_its_token_or_role_is_taken(lab, how):
    reader = lab.tokens["reader"]
    watch = lab.experiments.WatchExperiment(
        pb.WatchExperimentRequest(name="experiments/e"), metadata=headers(reader)
    )
    assert (await watch.read()).events
    if how == "token":
        lab.store.accounts.revoke_token(reader.split("_")[1])
    else:
        lab.store.accounts.deny("lab", "reader")
    with pytest.raises(aio.AioRpcError) as ended:
        await asyncio.wait_for(watch.read(), 20)
    assert ended.value.code() is (UNAUTHENTICATED if how == "token" else DENIED)


async def test_the_last_use_of_a_token_is_written_down(lab):
    await lab.experiments.ListExperiments(pb.ListExperimentsRequest(), metadata=headers(lab.tokens["reader"]))
    for _ in range(200):
        used = {one.user: one.last_use_time for one in lab.store.accounts.tokens()}
        if used["reader"]:
            break
        await asyncio.sleep(0.02)
    assert used["reader"]
    assert used["revoked"] is None


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer iplab_000000000000_" + "A" * 43, "\u00e9", "a" * 4000],
)
async def test_what_is_no_token_is_refused(lab, header):
    request = pb.GetExperimentRequest(name="experiments/e")
    sent = (("authorization", header.encode("ascii", "replace").decode()),)
    failed = await lab.fails(lab.experiments.GetExperiment(request, metadata=sent))
    assert (failed.code, failed.reason) == (UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_without_auth_nobody_is_asked_and_nothing_has_an_owner(api):
    made = await api.create("e")
    assert (made.project, made.owner) == ("default", "")
    assert json.dumps([record.owned_by for record in api.store.list_experiments(limit=5)]) == '[""]'
