"""Proxy variables of other programs: not used for loopback, named in errors for other addresses."""

import socket
import threading
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc

import iplab
from iplab.connection import proxies
from iplab.connection.transport import Transport


@pytest.fixture
def refusing():
    """A proxy that counts its callers and refuses them, as a company's proxy refuses loopback."""
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        done = threading.Event()

        def serve():
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    calls.append(connection.recv(4096).partition(b"\r\n")[0].decode())
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://name:hidden@127.0.0.1:{server.getsockname()[1]}", calls
        done.set()
        thread.join()


@pytest.fixture
def service():
    """A gRPC server without our methods; its answer shows that it was reached."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
@pytest.mark.parametrize(
    "address", ["127.0.0.1:{}", "localhost:{}", "ipv4:127.0.0.1:{}", "dns:///localhost:{}"]
)
def test_a_service_on_loopback_is_reached_without_the_proxy(
    variable, address, refusing, service, monkeypatch
):
    proxy, calls = refusing
    monkeypatch.setenv(variable, proxy)

    with (
        iplab.connect(address.format(service), timeout=5) as client,
        pytest.raises(iplab.ServerError) as caught,
    ):
        client.experiment("e").refresh()

    assert "UNIMPLEMENTED" in str(caught.value)
    assert calls == []


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_elsewhere_the_error_names_the_variable_and_no_password(variable, refusing, monkeypatch):
    proxy, calls = refusing
    monkeypatch.setenv(variable, proxy)
    monkeypatch.setattr("iplab.connection.retries.RETRY_DELAYS", ())

    with (
        iplab.connect("192.0.2.1:50051", timeout=5) as client,
        pytest.raises(iplab.UnavailableError) as caught,
    ):
        client.experiment("e").refresh()

    assert calls[0] == "CONNECT 192.0.2.1:50051 HTTP/1.1"
    assert f"the variable {variable} sends this connection through a proxy" in str(caught.value)
    assert "add it to no_proxy (no_proxy=192.0.2.1)" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_without_a_proxy_nothing_is_said_of_one():
    transport = Transport("127.0.0.1:1", timeout=1)
    with pytest.raises(iplab.UnavailableError) as caught:
        transport._attempt(
            lambda: transport.experiments.GetExperiment(
                iplab.v1.experiment_service_pb2.GetExperimentRequest(), timeout=1
            )
        )
    transport.close()
    assert "proxy" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, ""),
        ({"http_proxy": ""}, ""),
        ({"HTTP_PROXY": "http://p:1", "all_proxy": "socks5://p:1"}, ""),  # gRPC reads neither of them
        ({"http_proxy": "http://p:1", "https_proxy": "http://p:1"}, "https_proxy"),
        ({"http_proxy": "http://p:1", "grpc_proxy": "http://p:1"}, "grpc_proxy"),
        ({"http_proxy": "http://p:1", "no_proxy": "example.org"}, ""),
        ({"http_proxy": "http://p:1", "no_proxy": "localhost, lab.example.org"}, ""),
        ({"http_proxy": "http://p:1", "no_proxy": "other.org"}, "http_proxy"),
        ({"http_proxy": "http://p:1", "no_grpc_proxy": "other.org", "no_proxy": "example.org"}, "http_proxy"),
    ],
)
def test_which_variable_counts(environment, told):
    found = proxies.hint("lab.example.org:50051", environment)

    assert (f"the variable {told} " in found) if told else found == ""
    assert proxies.hint("127.0.0.1:50051", environment) == ""


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:50051", True),
        ("127.9.8.7:50051", True),
        ("0.0.0.0:50051", True),
        ("[::1]:50051", True),
        ("ipv6:[::1]:50051", True),
        ("LOCALHOST:50051", True),
        ("a.localhost:50051", True),
        (f"{socket.gethostname()}:50051", True),
        ("unix:/run/iplab.sock", True),
        ("10.0.0.1:50051", False),
        ("[2001:db8::1]:50051", False),
        ("localhost.example.org:50051", False),
        ("notlocalhost:50051", False),
        ("dns:50051", False),
        ("xds:///lab", False),
    ],
)
def test_what_only_this_machine_can_be(address, local):
    assert proxies.is_local(address) is local
