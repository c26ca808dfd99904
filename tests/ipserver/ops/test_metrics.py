"""Metrics: what is counted, what is read from the store, and where it is served."""

import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ipserver.api.calls import Call
from ipserver.errors import StartupError, StoreUnavailable
from ipserver.ops.metric_addresses import addresses, part_address, with_free_ports
from ipserver.ops.metrics.api import ApiMetrics
from ipserver.ops.metrics.dispatch import DispatchMetrics
from ipserver.ops.metrics.forward import ForwardMetrics
from ipserver.ops.metrics.readings import Readings, gauge
from ipserver.ops.metrics.serving import serve_metrics
from ipserver.scheduling.dispatcher import Dispatcher
from ipserver.store.records.cluster import CapacityReport
from ipserver.workers.local_executor import LocalExecutor
from tests.ipserver.support import settings_in, small_spec, store_in, submit
from tests.ports import free_port


def shown(text):
    """The samples of an answer, by name and values of labels, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def store(tmp_path):
    with store_in(settings_in(tmp_path)) as opened:
        yield opened


def test_calls_are_counted_by_method_and_code(registry):
    metrics = ApiMetrics(registry)
    for code, seconds in (("OK", 0.03), ("OK", 0.3), ("NOT_FOUND", 0.003)):
        metrics(Call("RunService/GetRun", code, seconds))
    found = shown(generate_latest(registry).decode())
    assert found["iplab_api_calls_total", "OK", "RunService/GetRun"] == 2
    assert found["iplab_api_calls_total", "NOT_FOUND", "RunService/GetRun"] == 1
    assert found["iplab_api_call_seconds_sum", "RunService/GetRun"] == pytest.approx(0.333)
    assert found["iplab_api_call_seconds_bucket", "0.05", "RunService/GetRun"] == 2


def test_a_dispatcher_counts_what_it_trains(registry, store, tmp_path):
    """Four runs of 20 updates: whatever the slices, 80 updates are committed."""
    submit(store, small_spec())
    executor = LocalExecutor()
    metrics = DispatchMetrics(registry, store)
    dispatcher = Dispatcher(store, executor, settings_in(tmp_path), "d", observer=metrics)
    while not store.idle():
        dispatcher.step()
    executor.close()

    found = shown(generate_latest(registry).decode())
    assert found["iplab_dispatch_updates_total",] == 80
    slices = found["iplab_dispatch_slices_total", "committed"]
    assert slices == found["iplab_dispatch_commit_lag_seconds_count",] >= 1
    assert found["iplab_dispatch_slices_total", "repeated"] == 0
    assert found["iplab_packs_waiting", "default"] == found["iplab_packs", "LEASED"] == 0
    totals = store.capacity().resources
    assert found["iplab_cluster_total", "cpus"] == found["iplab_cluster_free", "cpus"] == totals["cpus"]
    assert found["iplab_store_readable",] == 1


def test_leased_packs_take_from_what_is_free(registry, store, tmp_path):
    store.save_capacity(CapacityReport({"cpus": 8.0, "gpus": 1.0, "disk": 5.0}, ()))
    # Longer than the test: a step of the dispatcher may start and end a short pack.
    submit(store, small_spec(steps=100_000, evaluation_interval=100_000, resources={"cpus": 2}))
    executor = LocalExecutor()
    dispatcher = Dispatcher(store, executor, settings_in(tmp_path), "d")
    while not store.queue().leased:
        dispatcher.step()
    store.save_capacity(CapacityReport({"cpus": 8.0, "gpus": 1.0, "disk": 5.0}, ()))
    packs = store.queue().packs["LEASED"]
    DispatchMetrics(registry, store)
    found = shown(generate_latest(registry).decode())
    executor.close()

    assert packs >= 1
    assert found["iplab_cluster_free", "cpus"] == 8 - 2 * packs
    assert found["iplab_cluster_free", "gpus"] == 1
    assert ("iplab_cluster_total", "disk") not in found, "nobody bounds the names of custom resources"


def test_a_forwarder_counts_what_it_sends(registry, store):
    metrics = ForwardMetrics(registry, store)
    metrics.points(10)
    metrics.taken()
    metrics.refused()
    found = shown(generate_latest(registry).decode())
    assert found["iplab_forward_points_total",] == 10
    assert found["iplab_forward_runs_total", "taken"] == found["iplab_forward_runs_total", "refused"] == 1
    assert found["iplab_forward_lag_seconds",] == found["iplab_forward_unsent_runs",] == 0


def test_the_store_is_read_at_most_once_a_second(registry):
    now, readings = [0.0], []

    def read():
        readings.append(now[0])
        return (gauge("iplab_x", "x", {"": float(len(readings))}),)

    registry.register(Readings(read, lambda: now[0]))
    assert readings == [], "registering reads nothing"
    values = []
    for now[0] in (0.0, 0.5, 1.0):
        values.append(shown(generate_latest(registry).decode())["iplab_x",])
    assert (readings, values) == ([0.0, 1.0], [1.0, 1.0, 2.0])


def test_without_a_store_the_other_metrics_remain(registry):
    def read():
        raise StoreUnavailable("gone")

    registry.register(Readings(read))
    assert shown(generate_latest(registry).decode()) == {("iplab_store_readable",): 0.0}


def test_the_documentation_names_every_metric(registry, store):
    ApiMetrics(registry)
    ForwardMetrics(registry, store)
    other = CollectorRegistry()
    DispatchMetrics(other, store)
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    families = [*registry.collect(), *other.collect()]
    assert len(families) > 10
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}" in text, name


def test_they_are_served_where_the_setting_says():
    address = f"127.0.0.1:{free_port()}"
    serve_metrics("forward", address)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/metrics", timeout=60) as answer:
        found = shown(answer.read().decode())
    assert [key for key in found if key[:2] == ("iplab_part_info", "forward")]
    assert found["process_resident_memory_bytes",] > 1e6
    with pytest.raises(StartupError, match=f"IPLAB_METRICS_ADDRESS: cannot listen on {address}"):
        serve_metrics("api", address)


def test_parts_of_one_service_have_ports_that_follow_each_other():
    assert addresses("127.0.0.1:9464") == {
        "api": "127.0.0.1:9464",
        "dispatch": "127.0.0.1:9465",
        "forward": "127.0.0.1:9466",
    }
    assert part_address("", "api") == part_address("127.0.0.1:9464", "web") == with_free_ports("") == ""
    first = int(with_free_ports("127.0.0.1:0").rpartition(":")[2])
    assert first > 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"127.0.0.1:{port}"):
            with_free_ports(f"127.0.0.1:{port - 1}")
    with pytest.raises(StartupError, match=r"cannot listen on 127\.0\.0\.1:65536: .*IPLAB_METRICS_ADDRESS"):
        with_free_ports("127.0.0.1:65535")  # the first of three
