"""Health checks of a server that is stopped, hangs or starts late."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from ipserver.ops import answering
from ipserver.ops.answering import Answering, health_channel
from tests.ports import free_port

SERVER = """
import sys, time
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2_grpc
server = grpc.server(futures.ThreadPoolExecutor(2))
health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
print("serving", flush=True)
server.wait_for_termination()
"""


def serve(port):
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"serving\n"
    return process


@pytest.fixture
def server():
    port = free_port()
    process = serve(port)
    yield process, f"127.0.0.1:{port}"
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(answering, "_REST_SECONDS", 0.05)
    monkeypatch.setattr(answering, "_CHECKS", 3)
    # Loopback is reached directly despite proxy variables.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)


def reached(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_stopped_server_is_noticed_and_one_that_goes_on_is_not(server):
    process, address = server
    pulse = Answering(address, start_seconds=30.0, timeout=0.6)
    assert not reached(pulse.stopped, 1.0)

    os.kill(process.pid, signal.SIGSTOP)
    begin = time.monotonic()
    assert reached(pulse.stopped)
    assert time.monotonic() - begin > 1.2, "one late answer is no reason"

    os.kill(process.pid, signal.SIGCONT)
    assert reached(lambda: not pulse.stopped()), "an answer counts again"
    pulse.close()


def test_one_that_starts_late_has_its_time():
    port = free_port()
    pulse = Answering(f"127.0.0.1:{port}", start_seconds=120.0, timeout=0.3)
    assert not reached(pulse.stopped, 1.5), "three checks are no reason yet"
    process = serve(port)
    try:
        assert reached(lambda: pulse.stopped() or pulse._allowed == 3, 60)
        assert not pulse.stopped()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert reached(pulse.stopped), "now three are"
    pulse.close()


def test_one_that_never_starts_is_noticed():
    pulse = Answering(f"127.0.0.1:{free_port()}", start_seconds=1.0, timeout=0.2)
    assert reached(pulse.stopped)
    pulse.close()


def test_time_in_which_nobody_asked_does_not_count(server):
    """As when `ipserver up` itself is stopped, or the machine sleeps."""
    process, address = server
    now = [0.0]
    pulse = Answering(address, start_seconds=30.0, timeout=5.0, monotonic=lambda: now[0])
    now[0] += 3600.0  # the other parts started slowly
    assert not pulse.stopped()
    assert reached(pulse._call.done)
    now[0] += 3600.0
    assert not pulse.stopped()
    assert process.poll() is None
    pulse.close()


def test_a_server_that_starts_late_is_met_soon():
    """By default gRPC would need 40 s for so many tries, each after a longer wait."""
    tries = 0
    with socket.create_server(("127.0.0.1", 0)) as listener, health_channel(_address(listener)) as channel:
        listener.settimeout(20.0)
        channel.subscribe(lambda state: None, try_to_connect=True)
        HealthStub(channel).Check.future(HealthCheckRequest(), timeout=60, wait_for_ready=True)
        begin = time.monotonic()
        while tries < 8:
            listener.accept()[0].close()
            tries += 1
    assert time.monotonic() - begin < 20.0


def _address(listener):
    return f"127.0.0.1:{listener.getsockname()[1]}"
