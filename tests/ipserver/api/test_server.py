"""The server: health, reflection, catalogue, errors, shutdown, imports."""

import asyncio
import logging
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import example, given
from hypothesis import strategies as st

from ipcore.catalogue import ACTIVATIONS, DatasetInfo
from iplab.v1 import catalog_service_pb2, errors_pb2, parameterization_service_pb2
from iplab.v1 import experiment_service_pb2 as pb
from ipserver import errors
from ipserver.api import paging, status
from ipserver.api.server import SERVICES
from ipserver.errors import InvalidRequest, StartupError
from ipserver.store.records.cluster import CapacityReport, DatasetReport

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_of_the_whole_and_of_each_service(api):
    health = health_pb2_grpc.HealthStub(api.channel)
    for service in ("", *SERVICES):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == SERVING


async def test_a_draining_server_says_so_and_ends_what_runs(running):
    async with running(grace=2.0) as api:
        health = health_pb2_grpc.HealthStub(api.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        api.stop.set()
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()


async def test_reflection_lists_and_describes_the_services(api):
    stub = reflection_pb2_grpc.ServerReflectionStub(api.channel)

    async def ask(**request):
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**request)]))
        return await call.read()

    listed = (await ask(list_services="")).list_services_response.service
    assert {service.name for service in listed} == set(SERVICES)
    assert "iplab.v1.ExperimentService" in SERVICES
    found = await ask(file_containing_symbol="iplab.v1.RunService")
    assert found.file_descriptor_response.file_descriptor_proto


async def test_the_catalogue_shows_datasets_as_last_reported(api):
    before = await api.catalog.GetCatalog(catalog_service_pb2.GetCatalogRequest())
    assert {dataset.state for dataset in before.datasets} == {catalog_service_pb2.DATASET_STATE_UNSPECIFIED}
    api.store.save_capacity(
        CapacityReport({"cpus": 2.0}, (DatasetReport("digits", ""), DatasetReport("mnist", "missing")))
    )
    after = await api.catalog.GetCatalog(catalog_service_pb2.GetCatalogRequest())
    digits, mnist = after.datasets[:2]
    assert {d.state for d in after.datasets[2:]} == {catalog_service_pb2.DATASET_STATE_UNSPECIFIED}
    assert digits.state == catalog_service_pb2.DATASET_STATE_AVAILABLE
    assert (digits.input_dim, digits.classes, digits.train_size + digits.test_size) == (64, 10, 1797)
    assert (mnist.state, mnist.problem) == (catalog_service_pb2.DATASET_STATE_UNAVAILABLE, "missing")
    assert list(after.activations) == list(ACTIVATIONS)
    assert (after.limits.max_runs, after.limits.max_width) == (20_000, 2**20)


async def test_the_catalogue_shows_families_and_registered_files(api):
    info = DatasetInfo(
        "registered:curve", "registered file curve.npz", 1, 0, 40, 10, target_dim=2, note="seen"
    )
    reports = (DatasetReport(info.name, "", info), DatasetReport("registered:torn", "is damaged"))
    api.store.save_capacity(CapacityReport({"cpus": 2.0}, reports))
    found = await api.catalog.GetCatalog(catalog_service_pb2.GetCatalogRequest())
    curve, torn = found.datasets[-2:]
    assert (curve.name, curve.classes, curve.target_dim, curve.note) == ("registered:curve", 0, 2, "seen")
    assert (torn.name, torn.problem) == ("registered:torn", "is damaged")
    assert torn.state == catalog_service_pb2.DATASET_STATE_UNAVAILABLE
    parity = next(family for family in found.families if family.name == "parity")
    assert [p.name for p in parity.parameters] == ["d", "k", "n", "test", "flip", "seed"]
    assert (parity.parameters[4].default_value, parity.parameters[4].allowed) == ("0", "numbers 0 .. 0.5")


async def test_parameterizations_at_a_depth(api):
    request = parameterization_service_pb2.ListParameterizationsRequest(hidden_layers=4)
    answer = await api.parameterizations.ListParameterizations(request)
    by_name = {entry.preset: entry for entry in answer.parameterizations}
    assert {"sp", "ntk", "mup", "ip", "ip-llr"} <= set(by_name)
    llr = by_name["ip-llr"].exponents
    assert list(llr.c_first_step) == ["-5/2", "-3", "-3", "-3", "-5/2"]
    assert list(llr.c) == ["-1", "-2", "-2", "-2", "-1"]
    assert list(by_name["mup"].exponents.c_first_step) == []
    assert all(entry.description and entry.source and entry.hidden_layers == 4 for entry in by_name.values())
    default = await api.parameterizations.ListParameterizations(
        parameterization_service_pb2.ListParameterizationsRequest()
    )
    assert {entry.hidden_layers for entry in default.parameterizations} == {3}


@pytest.mark.parametrize("depth", [-1, 10_001])
async def test_depths_out_of_range(api, depth):
    request = parameterization_service_pb2.ListParameterizationsRequest(hidden_layers=depth)
    failed = await api.fails(api.parameterizations.ListParameterizations(request))
    assert set(failed.violations) == {"hidden_layers"}


async def test_a_defect_is_logged_under_an_id_and_not_shown(api, monkeypatch, caplog):
    def broken(id):
        raise KeyError("a secret of the house")

    monkeypatch.setattr(api.store, "get_experiment", broken)
    with caplog.at_level(logging.ERROR, "ipserver.api.status"):
        failed = await api.fails(api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in failed.message
    incident = failed.message.rpartition(" ")[2]
    (record,) = caplog.records
    assert incident in record.getMessage()
    assert record.exc_info is not None


async def test_a_store_that_is_away_is_unavailable(api, monkeypatch):
    def away(id):
        raise errors.StoreUnavailable("the database does not answer")

    monkeypatch.setattr(api.store, "get_experiment", away)
    failed = await api.fails(api.experiments.GetExperiment(pb.GetExperimentRequest(name="experiments/e")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


def test_every_error_that_may_leave_the_service_has_a_reason_and_every_reason_an_error():
    examples = {
        "INVALID_REQUEST": InvalidRequest([errors.FieldViolation("a", "b")]),
        "NOT_FOUND": errors.NotFound("x"),
        "ALREADY_EXISTS": errors.AlreadyExists("x"),
        "REQUEST_ID_REUSED": errors.RequestIdReused("x"),
        "WATCH_OVERFLOW": errors.WatchOverflow("x"),
        "ARTIFACT_DAMAGED": errors.ArtifactDamaged("x"),
        "STORE_UNAVAILABLE": errors.StoreUnavailable("x"),
        "TOO_EXPENSIVE": errors.TooExpensive("x"),
        "UNAUTHENTICATED": errors.Unauthenticated("x"),
        "PERMISSION_DENIED": errors.PermissionDenied("x"),
        "QUOTA_EXCEEDED": errors.QuotaExceeded("x", "project:lab", "live_experiments", 3.0),
        "ETAG_MISMATCH": errors.EtagMismatch("x"),
        "INTERNAL": errors.Fenced("never leaves the service"),
    }
    assert {f"ERROR_REASON_{name}" for name in examples} | {"ERROR_REASON_UNSPECIFIED"} == set(
        errors_pb2.ErrorReason.keys()
    )
    for reason, error in examples.items():
        assert reason.encode() in status.to_status(error).details[0].value


async def test_a_port_in_use_is_refused(running, api):
    with pytest.raises(StartupError, match="the port is in use"):
        async with running(address=f"127.0.0.1:{api.port}"):
            pass


async def test_a_request_in_flight_is_answered_before_the_end(running, request_of):
    async with running(grace=5.0) as api:
        call = asyncio.create_task(_create(api, request_of("last")))
        while not api.store.list_experiments(limit=1):
            await asyncio.sleep(0.001)
        api.stop.set()
        assert (await call).name == "experiments/last"


async def _create(api, request):
    return await api.experiments.CreateExperiment(request)


def test_the_api_imports_neither_torch_nor_ray_nor_mlflow():
    code = (
        "import sys, ipserver.api.server, ipserver.store.store, ipserver.request.convert; "
        "print(sorted({'torch', 'ray', 'mlflow', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


TOKENS = paging.PageTokens(b"a key")
place = st.lists(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False)), min_size=1, max_size=3)


@given(place, st.text(), st.text())
def test_page_tokens_round_trip_and_belong_to_their_request(place, parent, other):
    token = TOKENS.make(place, parent, "")
    assert TOKENS.read(token, parent, "") == place
    if other != parent:
        with pytest.raises(InvalidRequest):
            TOKENS.read(token, other, "")


@given(st.text(min_size=1) | st.text("MTAwW10iLDAs-_", min_size=1))
@example("M0")
@example("W10")
@example("W1tdLFtdXQ")
@example("9" * 5000)
@example("W1tb" * 5000)
def test_any_text_as_a_token_is_refused(token):
    with pytest.raises(InvalidRequest):
        TOKENS.read(token, "experiments/e", "")


def test_a_token_that_was_changed_or_made_with_another_key_is_refused():
    token = TOKENS.make([7], "experiments/a")
    for i in range(len(token)):
        changed = token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :]
        with pytest.raises(InvalidRequest):
            TOKENS.read(changed, "experiments/a")
    with pytest.raises(InvalidRequest):
        paging.PageTokens(b"another key").read(token, "experiments/a")
