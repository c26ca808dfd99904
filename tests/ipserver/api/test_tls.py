"""TLS: certificates, clients' certificates, new files without a restart, and the port of probes."""

import asyncio
import ssl

import grpc
import pytest
import trustme
from cryptography import x509
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ipserver.environment.certificates import certificate_files
from tests.ipserver.tls import write_ca, write_certificate
from tests.ports import free_port


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


async def healthy(port, credentials=None):
    address = f"localhost:{port}"
    channel = aio.secure_channel(address, credentials) if credentials else aio.insecure_channel(address)
    async with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return (await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)).status


def serial(port):
    """Serial number of the certificate that a new connection is shown."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=20)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def test_clients_that_trust_the_ca_are_served_and_others_are_not(running, ca, tmp_path):
    write_certificate(ca, tmp_path / "tls")
    async with running(tls=certificate_files(tmp_path / "tls", None, None, None)) as api:
        trusting = grpc.ssl_channel_credentials(ca.cert_pem.bytes())
        assert await healthy(api.port, trusting) == health_pb2.HealthCheckResponse.SERVING
        for other in (grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes()), None):
            with pytest.raises(aio.AioRpcError) as refused:
                await healthy(api.port, other)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_new_files_are_used_without_a_restart_and_half_a_pair_is_not(running, ca, tmp_path):
    folder = tmp_path / "tls"
    write_certificate(ca, folder)
    async with running(tls=certificate_files(folder, None, None, None)) as api:
        first = await asyncio.to_thread(serial, api.port)
        old_key = (folder / "tls.key").read_bytes()
        write_certificate(ca, folder)
        new_key = (folder / "tls.key").read_bytes()
        (folder / "tls.key").write_bytes(old_key)
        assert await asyncio.to_thread(serial, api.port) == first
        (folder / "tls.key").write_bytes(new_key)
        assert await asyncio.to_thread(serial, api.port) != first
        assert await healthy(api.port, grpc.ssl_channel_credentials(ca.cert_pem.bytes())) == 1


async def test_with_a_client_ca_clients_need_a_certificate_of_it(running, ca, tmp_path):
    folder, clients = tmp_path / "tls", trustme.CA()
    write_certificate(ca, folder)
    write_ca(clients, folder / "client-ca.crt")
    own = clients.issue_cert("alice@example.org")
    pair = own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
    async with running(tls=certificate_files(folder, None, None, None)) as api:
        assert await healthy(api.port, grpc.ssl_channel_credentials(ca.cert_pem.bytes(), *pair)) == 1
        stranger = ca.issue_cert("mallory@example.org")
        strange = stranger.private_key_pem.bytes(), stranger.cert_chain_pems[0].bytes()
        for wrong in ((), strange):
            with pytest.raises(aio.AioRpcError):
                await healthy(api.port, grpc.ssl_channel_credentials(ca.cert_pem.bytes(), *wrong))


async def test_probes_have_a_port_that_answers_health_alone(running, ca, tmp_path):
    write_certificate(ca, tmp_path / "tls")
    port = free_port()
    tls = certificate_files(tmp_path / "tls", None, None, None)
    async with running(tls=tls, health_address=f"127.0.0.1:{port}") as api:
        assert api.port != port
        assert await healthy(port) == health_pb2.HealthCheckResponse.SERVING
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/iplab.v1.CatalogService/GetCatalog")
            with pytest.raises(aio.AioRpcError) as refused:
                await call(b"", timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_watch_outlives_the_age_of_its_connection(running):
    async with running(connection_age=0.2) as api:
        await api.create("e")
        watch = health_pb2_grpc.HealthStub(api.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.sleep(1.0)
        # Other calls go over a new connection meanwhile, and the watch still gets what happens.
        await api.create("f")
        api.stop.set()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
